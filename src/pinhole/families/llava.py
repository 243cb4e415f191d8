"""LLaVA-1.5: `LlavaForConditionalGeneration`, one square image of fixed size, 1-D RoPE."""

from __future__ import annotations

from typing import Any

from pinhole.families.base import Family, squares
from pinhole.layout import Layout, View


class Llava(Family):
    """CLIP features of one image in raster order, behind the [CLS] token where the feature selection keeps it.

    Checkpoints with a Pixtral tower give images of any size: their grid follows from `image_sizes`.
    """

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """Image side over patch side."""
        patch = self.model.config.vision_config.patch_size
        sizes = inputs.get("image_sizes")
        if sizes is None:
            sizes = [inputs["pixel_values"].shape[-2:]] * len(lengths)
        layouts = []
        for (height, width), length in zip(sizes, lengths, strict=True):
            view = View(int(height) // patch, int(width) // patch)
            cells = view.rows * view.columns
            layouts.append(Layout.of(length - cells, view) if length - cells in (0, 1) else squares(length))
        return layouts
