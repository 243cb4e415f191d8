"""What the uncompressed model would say: once per dialogue, kept on disk for the epochs after the first."""

from __future__ import annotations

import contextlib
import json
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


def answer_log_probs(
    family: Family,
    inputs: dict[str, Any],
    method: InputMethod,
    visuals: list[Visual],
    scope: Scope | None = None,
    cutting: Cutting | None = None,
) -> tuple[torch.Tensor, Shrunk]:
    """Log-probabilities (T, V) at the T answer tokens of a batch, in the order of its labels, and what was shrunk.

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
    logits = family.model.get_output_embeddings()(hidden[:, :-1][labels[:, 1:] != -100])
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32)), shrunk


class Teacher:
    """The uncompressed model's log-probabilities, from the cache where they are there.

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
        source = {"model": fingerprint(family.model), "data": data}
        described = cache / "source.json"
        if described.exists() and json.loads(described.read_text()) != source:
            raise ValueError(f"{cache} caches another model's outputs, or outputs on other data: give another folder")
        described.write_text(json.dumps(source) + "\n")

    @torch.no_grad()
    def __call__(self, names: list[int], inputs: dict[str, Any], visuals: list[Visual]) -> torch.Tensor:
        """Log-probabilities (T, V) for a batch; `names` are its dialogues' numbers in the data set."""
        device = inputs["labels"].device
        files = [self._cache / f"{name:08d}.safetensors" for name in names] if self._cache else []
        if files and all(file.exists() for file in files):
            return torch.cat([load_file(file)["log_probs"] for file in files]).to(device).float()
        result, _ = answer_log_probs(self._family, inputs, Full(), visuals)
        counts = (inputs["labels"][:, 1:] != -100).sum(-1).tolist()
        for file, part in zip(files, result.split(counts), strict=False):
            partial = file.with_suffix(".part")
            save_file({"log_probs": part.half().cpu().contiguous()}, partial)
            partial.replace(file)
        return result.half().float() if files else result  # as the cache will give it: a resumed run is the same run
