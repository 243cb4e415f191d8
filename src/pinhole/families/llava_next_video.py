"""LLaVA-NeXT-Video: `LlavaNextVideoForConditionalGeneration`, LLaVA-NeXT's images, and videos of pooled frames."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from pinhole.families.cues import averaged
from pinhole.families.llava_next import LlavaNext


class LlavaNextVideo(LlavaNext):
    """Each frame is one CLIP tile, pooled on its grid; the frames follow each other without newlines."""

    pixel_inputs: ClassVar[dict[str, str]] = {"image": "pixel_values", "video": "pixel_values_videos"}

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the patches that are pooled, however the features are."""
        if modality == "image":
            return super().per_token(modality, inputs, patches)
        frames = inputs["pixel_values_videos"].shape[:2].numel()
        return averaged(patches, frames, self.model.config.spatial_pool_stride)
