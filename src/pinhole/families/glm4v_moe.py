"""GLM-4.5V: `Glm4vMoeForConditionalGeneration`, GLM-4.1V with experts in the LLM."""

from __future__ import annotations

from dataclasses import replace

from pinhole.budget import LLMShape
from pinhole.families.glm4v import Glm4V


class Glm4VMoe(Glm4V):
    """As GLM-4.1V."""

    @property
    def shape(self) -> LLMShape:
        """With the experts that one token goes through."""
        text = self.model.config.get_text_config(decoder=True)
        experts = text.num_experts_per_tok + text.n_shared_experts
        return replace(super().shape, mlp_width=experts * text.moe_intermediate_size)
