"""Rewrites a model's inputs for fewer visual tokens: ids, mask, labels and positions shrink with the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pinhole.families.base import EncodedImage, Family, Positions
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True, eq=False)
class Shrunk:
    """Inputs as the LLM will read them.

    Attributes:
        inputs: keyword arguments for `forward` or `generate`; `mm_encoder_outputs` replaces the pixels.
        images: the images as encoded.
        reductions: what was decided for each image.
    """

    inputs: dict[str, Any]
    images: list[EncodedImage]
    reductions: list[Reduction]


def check(method: InputMethod, family: Family) -> None:
    """Refuse a method that cannot work on this model, before anything runs.

    Raises:
        ValueError: it needs cues that the family lacks, or was trained for another width.
    """
    missing = method.needs - family.provides
    if missing:
        kind = family.model.config.model_type
        raise ValueError(f"{method.name} needs {', '.join(sorted(missing))}, which models of type {kind!r} do not give")
    width = getattr(method, "width", family.width)
    if width != family.width:
        raise ValueError(
            f"this {method.name} was trained for an LLM of width {width}, the model's is {family.width}: "
            "load a compressor that was trained for this model"
        )


def decide(method: InputMethod, image: VisualTokens) -> Reduction:
    """The method's reduction of one image; the identity, without asking it, where everything remains."""
    m = method.count(image.n, image.grid)
    reduction = Reduction.identity(image.n, image.x.device) if m == image.n else method.reduce(image)
    assert (reduction.m, reduction.n) == (m, image.n), f"{method.name} announced {m} tokens and returned {reduction}"
    return reduction


def shrink(
    family: Family,
    inputs: dict[str, Any],
    method: InputMethod,
    positions: Positions | None = None,
    images: list[EncodedImage] | None = None,
) -> Shrunk:
    """Encode the images in `inputs`, reduce each, and leave out the placeholders of the tokens that go.

    Args:
        inputs: `input_ids` (B, L), optionally `attention_mask`, `position_ids`, `labels`, and what the encoder takes.
        method: decides.
        positions: overrides the family's choice.
        images: `family.encode(inputs)`, where it was already run.

    Rows that lose different numbers of tokens are padded again on the side on which they were; padding that all rows
    share stays.
    """
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
    used = {name for name in inputs if name in family.pixel_keys}
    if images is None:
        images, names = family.encode(inputs)
        used |= names
    reductions = [decide(method, image.tokens) for image in images]
    source, shrunk_mask = _sources(ids, mask, images, reductions)

    result = {name: value for name, value in inputs.items() if name not in used}
    alive = shrunk_mask.bool()
    pad = family.model.generation_config.pad_token_id if family.model.generation_config else None
    result["input_ids"] = ids.gather(1, source).masked_fill(~alive, pad or 0)
    result["attention_mask"] = shrunk_mask
    if inputs.get("labels") is not None:
        result["labels"] = inputs["labels"].gather(1, source).masked_fill(~alive, -100)
    if inputs.get("position_ids") is not None or (positions or family.positions) == "original":
        result["position_ids"] = _positions(
            inputs.get("position_ids"), mask, source, alive, positions or family.positions
        )
    result["mm_encoder_outputs"] = family.decided(
        [reduction.apply(image.tokens.x) for image, reduction in zip(images, reductions, strict=True)]
    )
    return Shrunk(result, images, reductions)


def _sources(
    ids: torch.Tensor, mask: torch.Tensor, images: list[EncodedImage], reductions: list[Reduction]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The column of `ids` that each column of the shrunk rows comes from, and the shrunk mask; both (B, L')."""
    rows = []
    everything = torch.arange(ids.shape[1], device=ids.device)
    for row in range(len(ids)):
        pieces, start = [], 0
        for image, reduction in zip(images, reductions, strict=True):
            if image.row == row:
                columns = image.columns
                pieces += [everything[start : columns[0]], columns[reduction.anchors.to(columns.device)]]
                start = int(columns[-1]) + 1
        kept = torch.cat([*pieces, everything[start:]])
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


def _positions(
    given: torch.Tensor | None, mask: torch.Tensor, source: torch.Tensor, alive: torch.Tensor, policy: Positions
) -> torch.Tensor:
    if policy == "compact":
        return (alive.long().cumsum(-1) - 1).clamp_min(0)
    full = mask.long().cumsum(-1) - 1 if given is None else given.expand(len(source), -1)
    return full.gather(1, source).masked_fill(~alive, 0)
