"""What a model's own input says about the question: its words, and the LLM's first look from it at the image.

The instruction is what stands behind the last visual token of the row: T tokens, padding aside. Answers that a prompt
holds belong to it; earlier turns of a `Session` do not, as each turn is read by itself.

- `prompt_ids` (T,): its token ids, int64, the same for every image of the row.
- `prompt_embeddings` (T, d): its input embeddings, the same for every image of the row.
- `first_layer_attention` (n, T): attention from each of its tokens to each visual token in the LLM's first layer, mean
  over heads, float32. The softmax runs over the row's uncompressed prompt up to that token, as far back as the layer
  sees.
- `attention@K` (n, T), K from 1: the same in the LLM's layer K; those before it read the row's uncompressed prompt.
"""

from __future__ import annotations

import itertools
from collections.abc import Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from pinhole.families.cues import Call, watched
from pinhole.reduction import Reduction

if TYPE_CHECKING:
    from pinhole.families.base import Family
from pinhole.families.parts import Visual

FIRST = "first_layer_attention"
DEEPER = "attention@"
PROMPT_CUES = frozenset({"prompt_ids", "prompt_embeddings", FIRST})
"""Those that need no more of the LLM than its first layer."""


def of_prompt(needs: Set[str]) -> frozenset[str]:
    """Which of these cues come from the prompt, and not from the encoder."""
    return frozenset(name for name in needs if name in PROMPT_CUES or name.startswith(DEEPER))


class Seen(Exception):  # noqa: N818 - not an error: it ends a forward pass whose rest is not needed
    """Carries the `Call`."""


@torch.no_grad()
def with_prompt_cues(
    family: Family, inputs: dict[str, Any], visuals: list[Visual], needs: Set[str], start: int = 0
) -> list[Visual]:
    """The same images and videos with those of `needs` among their cues that come from the prompt.

    Args:
        family: of the model.
        inputs: the model's inputs.
        visuals: all images and videos in them, row by row.
        needs: names of cues.
        start: the first column of the turn whose question counts.

    Raises:
        ValueError: a row ends with its image, or the LLM has no such layer.
    """
    if not of_prompt(needs):
        return visuals
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(inputs["input_ids"]) if mask is None else mask
    layers = {name: int(name.removeprefix(DEEPER)) for name in needs if name.startswith(DEEPER)}
    layers |= dict.fromkeys(needs & {FIRST}, 0)
    positions = family.full_positions(inputs, mask) if layers else None
    result = []
    for row, group in itertools.groupby(visuals, key=lambda visual: visual.row):
        mine = list(group)
        real = mask[row].nonzero()[:, 0]
        ids = inputs["input_ids"][row : row + 1, real]
        instruction = _instruction(row, real, mine, start)
        words = ids[0, instruction]
        embeddings = family.model.get_input_embeddings()(words)
        attention = {}
        if positions is not None:
            known = {name: inputs[name][row : row + 1, real] for name in family.token_inputs if name in inputs}
            prompt = {"input_ids": ids, "position_ids": positions[..., row : row + 1, real], **known}
            attention = {
                name: asking(_call(family, layer, mine, prompt), instruction) for name, layer in layers.items()
            }
        for visual in mine:
            cues = {**visual.tokens.cues, "prompt_ids": words, "prompt_embeddings": embeddings}
            cues |= {name: value[torch.searchsorted(real, visual.columns)] for name, value in attention.items()}
            result.append(replace(visual, tokens=replace(visual.tokens, cues={name: cues[name] for name in needs})))
    return result


def _instruction(row: int, real: torch.Tensor, visuals: list[Visual], start: int) -> torch.Tensor:
    """Which of the row's real columns (L,) hold the instruction: (T,) indices into them."""
    last = max(int(visual.columns[-1]) for visual in visuals)
    instruction = (real > max(last, start - 1)).nonzero()[:, 0]
    if not len(instruction):
        raise ValueError(
            f"row {row} of the batch ends with its {visuals[-1].modality}, and this method reads the question: "
            "put the question behind it"
        )
    return instruction


def asking(call: Call, instruction: torch.Tensor) -> torch.Tensor:
    """(L, T): mean attention over heads to every token of one row of L tokens from those of the instruction.

    Args:
        call: of one layer, on the row.
        instruction: (T,) indices into it.
    """
    columns, queries = torch.arange(call.key.shape[2], device=instruction.device), instruction[:, None]
    visible = columns <= queries
    if call.window is not None:
        visible &= columns > queries - call.window
    return replace(call, query=call.query[:, :, instruction]).weights(visible).mean(1)[0].T


def _call(family: Family, layer: int, visuals: list[Visual], prompt: dict[str, torch.Tensor]) -> Call:
    """One layer's attention on one row, where it stands: the model's own forward pass goes as far as that.

    Args:
        family: of the model.
        layer: from 0.
        visuals: of the row.
        prompt: inputs of the row, without padding.
    """
    layers = family.language_model.layers
    if not 0 <= layer < len(layers):
        raise ValueError(
            f"this LLM has layers 0 to {len(layers) - 1}, and the attention of layer {layer} was asked for"
        )

    def stop(call: Call) -> NoReturn:
        raise Seen(call)

    everything = [Reduction.identity(visual.tokens.n, visual.tokens.x.device) for visual in visuals]
    try:
        with watched(layers[layer].self_attn, stop):
            family.model.base_model(
                **prompt,
                attention_mask=torch.ones_like(prompt["input_ids"]),
                mm_encoder_outputs=family.ready(family.decided(visuals, everything)),
                use_cache=False,
            )
    except Seen as seen:
        return seen.args[0]
    raise AssertionError(f"layer {layer} of the LLM called no attention function")
