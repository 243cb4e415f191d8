"""LLaVA-OneVision: `LlavaOnevisionForConditionalGeneration`, SigLIP tiles that are pooled where many, and videos."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from pinhole.families.tiling import Tiled, padded_square
from pinhole.layout import Box


class LlavaOnevision(Tiled):
    """Tiles for a prompt's only image; several images in a prompt are one tile each, padded to a square.

    A video's frames are pooled on their grids and followed by one newline.
    """

    pixel_inputs: ClassVar[dict[str, str]] = {"image": "pixel_values", "video": "pixel_values_videos"}
    stacked: ClassVar[frozenset[str]] = frozenset({"video"})

    def tiles(self, inputs: dict[str, Any]) -> list[int]:
        """The overview and the tiles of each image's canvas; 1 for images that share their prompt with others."""
        config, sizes = self.model.config, inputs["image_sizes"]
        per_prompt = inputs.get("batch_num_images")
        alone = [True] * len(sizes) if per_prompt is None else [n == 1 for n in per_prompt.tolist() for _ in range(n)]
        pinpoints, side = config.image_grid_pinpoints, config.vision_config.image_size
        return [
            image_size_to_num_patches(size, pinpoints, side) if single else 1
            for size, single in zip(sizes, alone, strict=True)
        ]

    def packed(self, features: list[torch.Tensor], inputs: dict[str, Any], newline: torch.Tensor) -> list[torch.Tensor]:
        """Padding is cut off and, beyond the limit that `vision_aspect_ratio` names, the grid is scaled down."""
        limit = inputs.get("vision_aspect_ratio") or self.model.config.vision_aspect_ratio
        return self.model.base_model.pack_image_features(features, inputs["image_sizes"], newline, limit)[0]

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """A video's frames are scaled down as their features are."""
        if modality == "image":
            return super().per_token(modality, inputs, patches)
        videos, frames = inputs["pixel_values_videos"].shape[:2]
        pooled = self.model.base_model.apply_pooling(patches.unflatten(0, (videos * frames, -1)))
        pooled = pooled.reshape(videos, -1, patches.shape[1])
        return torch.cat([pooled, pooled.new_zeros(videos, 1, patches.shape[1])], 1).flatten(0, 1)

    def untiled(self, size: tuple[int, int]) -> Box:
        """The square that the picture was padded to."""
        return padded_square(size)
