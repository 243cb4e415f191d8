"""GLM-4.6V: `Glm46VForConditionalGeneration`, GLM-4.1V around other LLMs."""

from __future__ import annotations

from pinhole.families.glm4v import Glm4V


class Glm46V(Glm4V):
    """As GLM-4.1V."""
