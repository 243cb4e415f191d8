"""GOT-OCR2: `GotOcr2ForConditionalGeneration`, pages or tiles of fixed size, 1-D RoPE."""

from __future__ import annotations

from typing import Any

from pinhole.families.mosaic import Mosaic
from pinhole.layout import Layout, View


class GotOcr2(Mosaic):
    """An unbroken run of placeholders is one unit: a page, several pages, or tiles; the inputs do not tell which."""

    @property
    def side(self) -> int:
        """Visual tokens along a page or tile: two convolutions halve the patches."""
        vision = self.model.config.vision_config
        return vision.image_size // vision.patch_size // 4

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """One page, or grids from unknown places."""
        page, part = View(self.side, self.side), View(self.side, self.side, None)
        counts = [length // self.side**2 for length in lengths]
        return [Layout.of(page) if count == 1 else Layout.of(*[part] * count) for count in counts]
