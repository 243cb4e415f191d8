"""LLaVA-1.5: `LlavaForConditionalGeneration`, one square image of fixed size, 1-D RoPE."""

from __future__ import annotations

from typing import Any

import torch

from pinhole.families.base import Family
from pinhole.families.cues import Encoder, tower
from pinhole.families.parts import squares
from pinhole.layout import Layout, View


class Llava(Family):
    """CLIP features of one image in raster order, behind the [CLS] token where the feature selection keeps it.

    The boxes are shares of what the processor cut out of the picture: the square in its middle, where it crops.
    Checkpoints with a Pixtral tower give images of any size: their grid follows from `image_sizes`.
    """

    @property
    def patch(self) -> int:
        """Pixels along a visual token."""
        return self.model.config.vision_config.patch_size

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """CLIP or SigLIP."""
        return tower(self.model.config, self.model.base_model.vision_tower, inputs)

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """Image side over the side of a visual token."""
        sizes = inputs.get("image_sizes")
        if sizes is None:
            sizes = [inputs["pixel_values"].shape[-2:]] * len(lengths)
        layouts = []
        for (height, width), length in zip(sizes, lengths, strict=True):
            view = View(int(height) // self.patch, int(width) // self.patch)
            cells = view.rows * view.columns
            layouts.append(Layout.of(length - cells, view) if length - cells in (0, 1) else squares(length))
        return layouts

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Without the padding to the largest image of the batch."""
        images, sizes = super().pixels(modality, inputs, lengths), inputs.get("image_sizes")
        if sizes is None:
            return images
        return [image[:, :height, :width] for image, (height, width) in zip(images, sizes.tolist(), strict=True)]
