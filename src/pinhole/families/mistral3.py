"""Mistral Small 3.1: `Mistral3ForConditionalGeneration`, images of any size with line breaks between rows, 1-D RoPE."""

from __future__ import annotations

from pinhole.families.llava import Llava


class Mistral3(Llava):
    """Pixtral's patches, squares of them merged; text, one line break, stands between the rows of an image."""

    @property
    def patch(self) -> int:
        """Pixels along a visual token."""
        return super().patch * self.model.config.spatial_merge_size
