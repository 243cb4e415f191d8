"""What an image processor makes the encoder see of a picture, where the model's inputs do not tell."""

from __future__ import annotations

from typing import Any

from transformers import ProcessorMixin

from pinhole.families.tiling import padded_square
from pinhole.layout import WHOLE, Box, part_of
from pinhole.view.subject import Modality


def seen_part(processor: ProcessorMixin, modality: Modality, size: tuple[int, int]) -> Box:
    """The part of a picture, or of each frame of a video, that the boxes of its layout are shares of.

    All of it, unless the processor pads the picture to a square, or crops the middle as LLaVA-1.5's does. Processors
    that make tiles do neither to them, whatever their settings say: their families know where tiles come from.

    Args:
        processor: of the model.
        modality: whose part of the processor is asked.
        size: (width, height) of the picture.
    """
    kind: Any = getattr(processor, f"{modality}_processor")
    if getattr(kind, "image_grid_pinpoints", None):
        return WHOLE
    crop = kind.crop_size if getattr(kind, "do_center_crop", False) else None
    is_padded = getattr(kind, "image_aspect_ratio", None) == "pad" or (crop and getattr(kind, "do_pad", False))
    outer = padded_square(size[::-1]) if is_padded else WHOLE
    if not crop:
        return outer
    width, height = _scaled(kind, (max(size), max(size)) if is_padded else size)
    above, left = (1 - crop["height"] / height) / 2, (1 - crop["width"] / width) / 2
    return part_of(outer, (above, left, 1 - above, 1 - left))


def _scaled(kind: Any, size: tuple[int, int]) -> tuple[float, float]:
    """(width, height) after scaling: to a size, or so that the shorter side has so many pixels."""
    if not kind.do_resize:
        return size
    if shortest := kind.size.get("shortest_edge"):
        return size[0] * shortest / min(size), size[1] * shortest / min(size)
    return kind.size["width"], kind.size["height"]
