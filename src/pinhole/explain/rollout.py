"""Which visual tokens an answer rests on: gradient-weighted attention rollout, row by row.

The relevance of the explainability compressor (ICLR 2026, arXiv 2506.01097). For one generated token, R starts as I and
every layer, from the first to the last, makes it R + Abar R. Abar is the mean over heads of (A * dA)^+, with A the
layer's attention and dA the gradient of that token's logit at A. Its relevance is the row of R at the position that
predicted the token.

One row needs no matrix: from the last layer to the first, r <- r + r Abar. Nor does it need the maps of all layers: a
forward pass without gradients leaves the input of each; then they run once more, from the last to the first, with
gradients. At the attention's output O = A V that gives dO, and dA = dO V^T is made a few queries at a time. All tokens
of the answer go down in one sweep, which takes the memory of the layers' inputs and of one layer's pass.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pinhole.context import Context
from pinhole.explain.layer import again, carried, down
from pinhole.families.base import Family
from pinhole.families.parts import Visual
from pinhole.methods.full import Full
from pinhole.shrink import shrink

Weighting = Literal["gradient", "mean"]


@dataclass(frozen=True, eq=False)
class _Read:
    """One row of L tokens, as the LLM read it.

    Attributes:
        layers: arguments of each decoder layer, by place and by name; the first are the hidden states (1, L, d).
        last: (1, L, d) what the final norm was given.
        visuals: images and videos of the row.
    """

    layers: list[tuple[tuple[Any, ...], dict[str, Any]]]
    last: torch.Tensor
    visuals: list[Visual]


def relevance(
    family: Family,
    inputs: dict[str, Any],
    answer: torch.Tensor,
    weighting: Weighting = "gradient",
    visuals: list[Visual] | None = None,
) -> list[torch.Tensor]:
    """R_v: how much an answer rests on each visual token of its prompt, the mean over the answer's tokens.

    The prompt is read uncompressed. A logit is the output head's on the normed hidden state, as in every family here.

    Args:
        family: of the model, which is in evaluation mode and stays as it is.
        inputs: the model's, of one prompt without padding.
        answer: (T,) ids that the model generated, without the token that ends the answer.
        weighting: "gradient" as above; "mean" makes Abar the mean of A over heads, without gradients.
        visuals: `family.encode(inputs)`, where it was already run.

    Returns:
        (n_i,) float32 for each image and video, in the order of their places in the prompt.

    Raises:
        ValueError: not one prompt without padding, no images in it, no answer, an unknown weighting, or an attention
            that is more than the softmax of scaled products.
    """
    check_weighting(weighting)
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    if len(ids) != 1 or (mask is not None and not bool(mask.all())):
        raise ValueError(f"give one prompt without padding; input_ids are {tuple(ids.shape)}")
    if not family.has_pixels(inputs):
        raise ValueError("the prompt has no image and no video whose tokens could be relevant: give its pixels too")
    if answer.dim() != 1 or not len(answer):
        raise ValueError(f"an answer is one row of at least one token id, got {tuple(answer.shape)}")
    read = _read(family, inputs, answer.to(ids.device), visuals)
    rows = _sweep(family, read, answer, with_gradients=weighting == "gradient")
    return [rows[:, visual.columns.to(rows.device)].mean(0).float() for visual in read.visuals]


def check_weighting(weighting: str) -> None:
    """Refuse a weighting that does not exist.

    Raises:
        ValueError: it is neither "gradient" nor "mean".
    """
    if weighting not in ("gradient", "mean"):
        raise ValueError(f"weighting is gradient or mean, got {weighting!r}")


@torch.no_grad()
def _read(family: Family, inputs: dict[str, Any], answer: torch.Tensor, visuals: list[Visual] | None) -> _Read:
    """Run the LLM on the prompt and all of the answer but its last token, which predicts nothing that was asked."""
    positions = family.full_positions(inputs, torch.ones_like(inputs["input_ids"]))
    shrunk = shrink(family, {**inputs, "position_ids": positions}, Full(), visuals=visuals)
    prompt, said = shrunk.inputs, answer[None, :-1]
    types = {name: prompt[name] for name in family.token_inputs if name in prompt}
    context = Context(prompt["input_ids"], prompt["attention_mask"], prompt["position_ids"], types).append(
        Context(said, torch.ones_like(said), torch.arange(said.shape[1], device=said.device)[None])
    )
    layers: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    last: list[torch.Tensor] = []
    llm = family.language_model
    with contextlib.ExitStack() as hooks:
        for layer in llm.layers:
            note = layer.register_forward_pre_hook(
                lambda _module, args, kwargs: layers.append((args, kwargs)), with_kwargs=True
            )
            hooks.callback(note.remove)
        hooks.callback(llm.norm.register_forward_pre_hook(lambda _module, args: last.append(args[0])).remove)
        family.model.base_model(
            input_ids=context.input_ids,
            attention_mask=context.attention_mask,
            position_ids=context.position_ids,
            **context.token_inputs,
            mm_encoder_outputs=family.ready(prompt["mm_encoder_outputs"]),
            use_cache=False,
        )
    return _Read(layers, last[0], shrunk.visuals)


def _sweep(family: Family, read: _Read, answer: torch.Tensor, with_gradients: bool) -> torch.Tensor:
    """(T, L): the row of R for each token of the answer, from the last layer to the first."""
    count, length = len(answer), read.last.shape[1]
    places = torch.arange(length - count, length)
    gradient = _of_logits(family, read.last, places, answer) if with_gradients else None
    rows = torch.zeros(count, length, dtype=torch.promote_types(read.last.dtype, torch.float32))
    rows[torch.arange(count), places] = 1
    while read.layers:
        layer = family.language_model.layers[len(read.layers) - 1]
        attention = again(layer, *read.layers.pop(), with_gradients)
        rows = rows.to(attention.value.device)
        if gradient is None:
            rows = rows + carried(attention, rows)
        else:
            added, gradient = down(attention, rows, gradient, is_first=not read.layers)
            rows = rows + added
    return rows


def _of_logits(family: Family, last: torch.Tensor, places: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """(T, L, d): the gradient of each answer token's logit at what the final norm is given."""
    with torch.enable_grad():
        hidden = last[0, places].detach().requires_grad_()
        logits = family.model.get_output_embeddings()(family.language_model.norm(hidden))
        [rows] = torch.autograd.grad(logits.gather(1, answer[:, None].to(logits.device)).sum(), hidden)
    gradient = last.new_zeros(len(answer), *last.shape[1:])
    gradient[torch.arange(len(answer)), places] = rows
    return gradient
