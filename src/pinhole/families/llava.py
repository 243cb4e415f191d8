"""LLaVA-1.5: `LlavaForConditionalGeneration`, one square image of fixed size, 1-D RoPE."""

from __future__ import annotations

from typing import Any

from pinhole.families.base import Family


class Llava(Family):
    """CLIP features of one image in raster order, without the [CLS] token under the default selection."""

    def grid(self, i: int, inputs: dict[str, Any]) -> tuple[int, int] | None:
        """Image side over patch side; None where the selection "full" adds the [CLS] token to the grid."""
        config = self.model.config
        if (inputs.get("vision_feature_select_strategy") or config.vision_feature_select_strategy) == "full":
            return None
        height, width = inputs["pixel_values"].shape[-2:]
        patch = config.vision_config.patch_size
        return height // patch, width // patch
