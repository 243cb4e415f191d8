"""Qwen3-VL with experts: `Qwen3VLMoeForConditionalGeneration`."""

from __future__ import annotations

from dataclasses import replace

from pinhole.budget import LLMShape
from pinhole.families.qwen3_vl import Qwen3VL


class Qwen3VLMoe(Qwen3VL):
    """As Qwen3-VL."""

    @property
    def shape(self) -> LLMShape:
        """With the experts that one token goes through."""
        text = self.model.config.get_text_config(decoder=True)
        return replace(super().shape, mlp_width=text.num_experts_per_tok * text.moe_intermediate_size)
