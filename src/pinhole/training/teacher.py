"""What the uncompressed model would say: once per dialogue, kept on disk for the epochs after the first."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pinhole.cutting import Cutting
from pinhole.families.base import Family
from pinhole.families.parts import Visual
from pinhole.loading import fingerprint
from pinhole.method import InputMethod
from pinhole.methods.full import Full
from pinhole.scope import Scope
from pinhole.shrink import Shrunk, shrink

_HELD = ["log_probs", "hidden"]
"""What the cache has of every dialogue."""


@dataclass(frozen=True, eq=False)
class AnswerOutputs:
    """What the LLM makes of a batch at its T answer tokens, in the order of the labels.

    Attributes:
        log_probs: (T, V) of the vocabulary, in float32 or better.
        hidden: (T, d), what the output head reads.
        shrunk: the batch as the LLM read it.
    """

    log_probs: torch.Tensor
    hidden: torch.Tensor
    shrunk: Shrunk


def answer_outputs(
    family: Family,
    inputs: dict[str, Any],
    method: InputMethod,
    visuals: list[Visual],
    scope: Scope | None = None,
    cutting: Cutting | None = None,
) -> AnswerOutputs:
    """One forward pass over a batch with `labels`.

    The vocabulary's logits are computed where answers are and nowhere else. With `cutting`, tokens leave between the
    LLM's layers too.
    """
    shrunk = shrink(family, inputs, method, scope, visuals)
    arguments = {**shrunk.inputs, "mm_encoder_outputs": family.ready(shrunk.inputs["mm_encoder_outputs"])}
    labels = arguments.pop("labels")
    with contextlib.ExitStack() as stack:
        if cutting:
            stack.enter_context(cutting.attached())
            cutting.begin(shrunk.inputs)
        hidden = family.model.base_model(**arguments, use_cache=False).last_hidden_state
    hidden = hidden[:, :-1][labels[:, 1:] != -100]
    logits = family.model.get_output_embeddings()(hidden)
    log_probs = logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    return AnswerOutputs(log_probs, hidden, shrunk)


class Teacher:
    """The uncompressed model's log-probabilities and hidden states, from the cache where they are there.

    Args:
        family: of the frozen model.
        cache: a folder with one safetensors file a dialogue (float16), or None to compute them every time.
        data: digest of the data set.

    Raises:
        ValueError: the folder holds what another model said, or what was said on other data.
    """

    def __init__(self, family: Family, cache: Path | None, data: str) -> None:
        self._family, self._cache = family, cache
        if cache is None:
            return
        cache.mkdir(parents=True, exist_ok=True)
        source = {"model": fingerprint(family.model), "data": data, "holds": _HELD}
        described = cache / "source.json"
        if described.exists() and json.loads(described.read_text()) != source:
            raise ValueError(
                f"{cache} caches another model's outputs, outputs on other data, or those of another version of "
                "Pinhole: give another folder"
            )
        described.write_text(json.dumps(source) + "\n")

    @torch.no_grad()
    def __call__(
        self, names: list[int], inputs: dict[str, Any], visuals: list[Visual]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities (T, V) and hidden states (T, d) of a batch; `names` number its dialogues in the data."""
        device = inputs["labels"].device
        files = [self._cache / f"{name:08d}.safetensors" for name in names] if self._cache else []
        if files and all(file.exists() for file in files):
            cached = [load_file(file) for file in files]
            log_probs, hidden = (torch.cat([one[name] for one in cached]).to(device).float() for name in _HELD)
            return log_probs, hidden
        result = answer_outputs(self._family, inputs, Full(), visuals)
        held = [result.log_probs, result.hidden]
        counts = (inputs["labels"][:, 1:] != -100).sum(-1).tolist()
        for file, *parts in zip(files, *(each.split(counts) for each in held), strict=False):
            partial = file.with_suffix(".part")
            save_file({name: part.half().cpu().contiguous() for name, part in zip(_HELD, parts, strict=True)}, partial)
            partial.replace(file)
        # as the cache will give it: a resumed run is the same run
        log_probs, hidden = (each.half().float() if files else each for each in held)
        return log_probs, hidden
