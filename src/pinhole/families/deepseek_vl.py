"""DeepSeek-VL: `DeepseekVLForConditionalGeneration`, one image padded to a square of fixed size, 1-D RoPE."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from PIL import Image

from pinhole.families.base import Family
from pinhole.families.tiling import padded_square
from pinhole.layout import Layout, View


class DeepseekVL(Family):
    """SigLIP features in raster order.

    What the square covers follows from `image_sizes`, (N, 2) heights and widths of the pictures (Pinhole's
    `encode_turn` gives them); without, the boxes are unknown.
    """

    stacked: ClassVar[frozenset[str]] = frozenset({"image"})
    spent_inputs: ClassVar[tuple[str, ...]] = ("image_sizes",)

    def describe(self, images: list[Image.Image], videos: int) -> dict[str, torch.Tensor]:
        """The pictures' heights and widths."""
        return {"image_sizes": torch.tensor([[image.height, image.width] for image in images])} if images else {}

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """One grid over the picture, scaled until its longer side fits, and its padding."""
        sizes = inputs.get("image_sizes")
        boxes = [None] * len(lengths) if sizes is None else [self._box(*size) for size in sizes.tolist()]
        sides = [math.isqrt(length) for length in lengths]
        return [Layout.of(View(side, side, box)) for side, box in zip(sides, boxes, strict=True)]

    def _box(self, height: int, width: int) -> tuple[float, float, float, float]:
        scale = self.model.config.vision_config.image_size / max(height, width)
        return padded_square((round(height * scale), round(width * scale)))
