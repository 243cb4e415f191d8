"""InternVL 2.5 and 3: transformers' `InternVLForConditionalGeneration`, tiles and a thumbnail, 1-D RoPE."""

from __future__ import annotations

import math
from typing import Any

import torch

from pinhole.families.cues import Encoder, averaged, selected
from pinhole.families.mosaic import Sized


class InternVL(Sized):
    """An image is an unbroken run of placeholders. The processor writes each frame of a video as an image."""

    @property
    def side(self) -> int:
        """Visual tokens along a tile."""
        return math.isqrt(self.model.config.image_seq_length)

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """InternViT, which reads every tile by itself."""
        layers = self.model.base_model.vision_tower.encoder.layer
        return selected(self.model.config, layers, True, inputs, attention="attention")

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the patches that the pixel shuffle makes one token of."""
        return averaged(patches, len(inputs["pixel_values"]), round(1 / self.model.config.downsample_ratio))
