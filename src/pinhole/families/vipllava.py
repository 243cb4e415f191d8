"""VipLLaVA: `VipLlavaForConditionalGeneration`, LLaVA-1.5 with features of several encoder layers."""

from __future__ import annotations

from typing import ClassVar

from pinhole.families.base import Family


class VipLlava(Family):
    """CLIP features of one square image of fixed size in raster order.

    The boxes are shares of the square that the processor cut out of the picture's middle.
    """

    stacked: ClassVar[frozenset[str]] = frozenset({"image"})
