"""SmolVLM: `SmolVLMForConditionalGeneration`, Idefics3 with a smaller LLM."""

from __future__ import annotations

from pinhole.families.idefics3 import Idefics3


class SmolVLM(Idefics3):
    """As Idefics3. The processor writes each frame of a video as an image without tiles."""
