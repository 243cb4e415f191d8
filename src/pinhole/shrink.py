"""Rewrites a model's inputs for fewer visual tokens: ids, mask, labels and positions shrink with the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pinhole.decide import decide
from pinhole.families.base import Family
from pinhole.families.parts import Visual
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.scope import Positions, Scope


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Inputs as the LLM will read them.

    Attributes:
        inputs: keyword arguments for `forward` or `generate`; `mm_encoder_outputs` replaces the pixels.
        visuals: the images and videos as encoded.
        reductions: what was decided for each of them.
    """

    inputs: dict[str, Any]
    visuals: list[Visual]
    reductions: list[Reduction]


def shrink(
    family: Family,
    inputs: dict[str, Any],
    method: InputMethod,
    scope: Scope | None = None,
    visuals: list[Visual] | None = None,
) -> Shrunk:
    """Encode the images and videos in `inputs`, reduce each, and leave out the placeholders of the tokens that go.

    Args:
        family: of the model.
        inputs: `input_ids` (B, L), optionally `attention_mask`, `position_ids`, `labels`, and what the encoder takes.
        method: decides.
        scope: how it is applied.
        visuals: `family.encode(inputs, method.needs)`, where it was already run.

    Rows that lose different numbers of tokens are padded again on the side on which they were; padding that all rows
    share stays.
    """
    scope = scope or Scope()
    ids, mask = _ids_and_mask(inputs)
    used = {*family.pixel_inputs.values(), *family.spent_inputs}
    if visuals is None:
        visuals, names = family.encode(inputs, method.needs)
        used |= names
    reductions = [decide(method, visual, scope) for visual in visuals]
    source, shrunk_mask = _sources(ids, mask, visuals, reductions)

    result = {name: value for name, value in inputs.items() if name not in used}
    alive = shrunk_mask.bool()
    pad = family.model.generation_config.pad_token_id if family.model.generation_config else None
    result["input_ids"] = ids.gather(1, source).masked_fill(~alive, pad or 0)
    result["attention_mask"] = shrunk_mask
    for name in ("labels", *family.token_inputs):
        if result.get(name) is not None:
            result[name] = result[name].gather(1, source).masked_fill(~alive, -100 if name == "labels" else 0)
    policy = scope.positions or family.positions
    if inputs.get("position_ids") is not None or policy == "original" or family.positions == "original":
        result["position_ids"] = _positions(family, inputs, mask, source, alive, policy)
    result["mm_encoder_outputs"] = family.decided(visuals, reductions)
    return Shrunk(result, visuals, reductions)


def _ids_and_mask(inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    if inputs.get("input_ids") is None:
        raise ValueError("visual tokens can only be reduced where the prompt is given as input_ids, not inputs_embeds")
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    if mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask is {tuple(mask.shape)} for input_ids of {tuple(ids.shape)}: images are reduced in the "
            "first pass of a context; continue a conversation through pinhole.Chat or pinhole.Session"
        )
    return ids, mask


def _sources(
    ids: torch.Tensor, mask: torch.Tensor, visuals: list[Visual], reductions: list[Reduction]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The column of `ids` that each column of the shrunk rows comes from, and the shrunk mask; both (B, L')."""
    rows = []
    for row in range(len(ids)):
        pieces, start = [], 0
        for visual, reduction in zip(visuals, reductions, strict=True):
            if visual.row == row:
                kept = visual.columns[reduction.anchors.to(ids.device)]
                for run in _runs(visual.columns):
                    first, last = int(run[0]), int(run[-1])
                    pieces += [torch.arange(start, first, device=ids.device), kept[(kept >= first) & (kept <= last)]]
                    start = last + 1
        kept = torch.cat([*pieces, torch.arange(start, ids.shape[1], device=ids.device)])
        rows.append(kept[mask[row, kept].bool()])
    length = max(len(kept) for kept in rows) + ids.shape[1] - int(mask.sum(-1).max())
    source = torch.zeros(len(ids), length, dtype=torch.long, device=ids.device)
    shrunk_mask = torch.zeros(len(ids), length, dtype=mask.dtype, device=ids.device)
    padded_left = bool(mask[:, -1].all())
    for row, kept in enumerate(rows):
        place = slice(length - len(kept), None) if padded_left else slice(0, len(kept))
        source[row, place] = kept
        shrunk_mask[row, place] = 1
    return source, shrunk_mask


def _runs(columns: torch.Tensor) -> list[torch.Tensor]:
    """The unbroken runs of placeholders: text may stand between them."""
    edges = (columns.diff() != 1).nonzero()[:, 0] + 1
    return list(columns.tensor_split(edges.cpu()))


def _positions(
    family: Family,
    inputs: dict[str, Any],
    mask: torch.Tensor,
    source: torch.Tensor,
    alive: torch.Tensor,
    policy: Positions,
) -> torch.Tensor:
    """(B, L'), or (3, B, L') for M-RoPE."""
    full = family.full_positions(inputs, mask)
    if policy == "compact":
        return (alive.long().cumsum(-1) - 1).clamp_min(0).expand(*full.shape[:-2], *source.shape)
    return full.gather(-1, source.expand(*full.shape[:-2], *source.shape)).masked_fill(~alive, 0)
