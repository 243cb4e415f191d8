"""LLaVA-NeXT-Video: `LlavaNextVideoForConditionalGeneration`, LLaVA-NeXT's images, and videos of pooled frames."""

from __future__ import annotations

from typing import ClassVar

from pinhole.families.llava_next import LlavaNext


class LlavaNextVideo(LlavaNext):
    """Each frame is one CLIP tile, pooled on its grid; the frames follow each other without newlines."""

    pixel_inputs: ClassVar[dict[str, str]] = {"image": "pixel_values", "video": "pixel_values_videos"}
