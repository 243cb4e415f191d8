"""LLaVA-NeXT: `LlavaNextForConditionalGeneration`, images of any aspect ratio in tiles, 1-D RoPE."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from pinhole.families.tiling import Tiled


class LlavaNext(Tiled):
    """CLIP tiles, as many as the best canvas for the picture has."""

    def tiles(self, inputs: dict[str, Any]) -> list[int]:
        """The overview and the tiles of each image's canvas."""
        config = self.model.config
        return [
            image_size_to_num_patches(size, config.image_grid_pinpoints, config.vision_config.image_size)
            for size in inputs["image_sizes"]
        ]

    def packed(self, features: list[torch.Tensor], inputs: dict[str, Any], newline: torch.Tensor) -> list[torch.Tensor]:
        """Whole rows and columns of padding are cut off."""
        return self.model.base_model.pack_image_features(features, inputs["image_sizes"], "default", newline)[0]
