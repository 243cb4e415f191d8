"""GLM-4.1V: `Glm4vForConditionalGeneration`, images and videos of any size, M-RoPE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.families.parts import Visual
from pinhole.families.qwen2_vl import Qwen2VL
from pinhole.reduction import Reduction


class Glm4V(Qwen2VL):
    """As Qwen2-VL; a video's frames, two by two, are images in the prompt, with a time stamp behind each.

    Their placeholders are those of images: the model reads images or videos in one turn of a batch, not both.
    """

    def token_id(self, modality: str) -> int:
        """The image's, for videos too."""
        return super().token_id("image")

    def full_positions(self, inputs: dict[str, Any], mask: torch.Tensor) -> torch.Tensor:
        """As Qwen2-VL; the placeholders are a video's where there is a video."""
        if inputs.get("mm_token_type_ids") is None:
            kind = 1 if inputs.get("video_grid_thw") is None else 2
            inputs = {**inputs, "mm_token_type_ids": kind * (inputs["input_ids"] == self.token_id("image")).long()}
        return super().full_positions(inputs, mask)

    def decided(self, visuals: list[Visual], reductions: list[Reduction]) -> dict[str, BaseModelOutputWithPooling]:
        """All as images, whose placeholders they fill: transformers looks for a video's own to make beams."""
        return super().decided([replace(visual, modality="image") for visual in visuals], reductions)
