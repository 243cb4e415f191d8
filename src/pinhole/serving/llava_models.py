"""vLLM's LLaVA models with fewer visual tokens: 1-D positions, which follow from the shorter prompt."""

from __future__ import annotations

from typing import Any

import torch
from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.model_executor.models.llava_next import (
    LlavaNextForConditionalGeneration,
    LlavaNextMultiModalProcessor,
    LlavaNextProcessingInfo,
)
from vllm.model_executor.models.llava_onevision import (
    LlavaOnevisionDummyInputsBuilder,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionMultiModalProcessor,
    LlavaOnevisionProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from pinhole.reduction import Reduction
from pinhole.serving.model import ReducedModel
from pinhole.serving.processing import ReducedPrompt


class ReducedLlava(ReducedModel):
    """A mixin for models with a CLIP or SigLIP tower, which vLLM builds up to the layer that is read."""

    @property
    def encoder_attention(self) -> torch.nn.Module:
        """Of the tower's last layer."""
        return self.vision_tower.vision_model.encoder.layers[-1].self_attn.attn  # type: ignore[attr-defined]


class LlavaProcessor(ReducedPrompt, LlavaMultiModalProcessor):
    """LLaVA-1.5's."""


class LlavaNextProcessor(ReducedPrompt, LlavaNextMultiModalProcessor):
    """LLaVA-NeXT's."""


class LlavaOnevisionProcessor(ReducedPrompt, LlavaOnevisionMultiModalProcessor):
    """LLaVA-OneVision's."""


@MULTIMODAL_REGISTRY.register_processor(LlavaProcessor, info=LlavaProcessingInfo, dummy_inputs=LlavaDummyInputsBuilder)
class PinholeLlavaForConditionalGeneration(ReducedLlava, LlavaForConditionalGeneration):
    """LLaVA-1.5."""


@MULTIMODAL_REGISTRY.register_processor(
    LlavaNextProcessor, info=LlavaNextProcessingInfo, dummy_inputs=LlavaDummyInputsBuilder
)
class PinholeLlavaNextForConditionalGeneration(ReducedLlava, LlavaNextForConditionalGeneration):
    """LLaVA-NeXT."""


@MULTIMODAL_REGISTRY.register_processor(
    LlavaOnevisionProcessor, info=LlavaOnevisionProcessingInfo, dummy_inputs=LlavaOnevisionDummyInputsBuilder
)
class PinholeLlavaOnevisionForConditionalGeneration(ReducedLlava, LlavaOnevisionForConditionalGeneration):
    """LLaVA-OneVision, images and videos."""

    def reduced(self, inputs: dict[str, Any]) -> tuple[str, list[tuple[Reduction, torch.Tensor]]]:
        """As of every model; videos of unlike length are encoded one after the other."""
        videos = inputs.get("pixel_values_videos")
        if isinstance(videos, list):
            each = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(len(videos))]
            alone = [{**mine, "pixel_values_videos": video[None]} for mine, video in zip(each, videos, strict=True)]
            return "video", [self.reduced(mine)[1][0] for mine in alone]
        return super().reduced(inputs)
