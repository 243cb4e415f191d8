"""vLLM's Qwen models with fewer visual tokens, of images and of videos."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.model_executor.models.qwen2_vl import (
    Qwen2VLDummyInputsBuilder,
    Qwen2VLForConditionalGeneration,
    Qwen2VLMultiModalProcessor,
    Qwen2VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from pinhole.serving.positions import ReducedMRope
from pinhole.serving.processing import ReducedPrompt


class ReducedQwen(ReducedMRope):
    """A mixin for models whose vision transformer is `visual`."""

    @property
    def encoder_attention(self) -> torch.nn.Module:
        """Of the last block."""
        return self.visual.blocks[-1].attn.attn  # type: ignore[attr-defined]


class CountedByProcessor:
    """A mixin: the largest number of tokens an item can have is what the processor makes of the largest item, m."""

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> None:
        """Nothing is said here, where it would be n."""


class Qwen2VLInfo(CountedByProcessor, Qwen2VLProcessingInfo):
    """Qwen2-VL's."""


class Qwen2_5VLInfo(CountedByProcessor, Qwen2_5_VLProcessingInfo):  # noqa: N801 - the model's own name
    """Qwen2.5-VL's."""


class Qwen2VLProcessor(ReducedPrompt, Qwen2VLMultiModalProcessor):
    """Qwen2-VL's."""


class Qwen2_5VLProcessor(ReducedPrompt, Qwen2_5_VLMultiModalProcessor):  # noqa: N801 - the model's own name
    """Qwen2.5-VL's."""


@MULTIMODAL_REGISTRY.register_processor(Qwen2VLProcessor, info=Qwen2VLInfo, dummy_inputs=Qwen2VLDummyInputsBuilder)
class PinholeQwen2VLForConditionalGeneration(ReducedQwen, Qwen2VLForConditionalGeneration):
    """Qwen2-VL."""


@MULTIMODAL_REGISTRY.register_processor(
    Qwen2_5VLProcessor, info=Qwen2_5VLInfo, dummy_inputs=Qwen2_5_VLDummyInputsBuilder
)
class PinholeQwen2_5VLForConditionalGeneration(ReducedQwen, Qwen2_5_VLForConditionalGeneration):  # noqa: N801
    """Qwen2.5-VL."""
