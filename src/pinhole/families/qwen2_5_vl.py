"""Qwen2.5-VL: `Qwen2_5_VLForConditionalGeneration`, Qwen2-VL with windows in its encoder and absolute time."""

from __future__ import annotations

from pinhole.families.qwen2_vl import Qwen2VL


class Qwen2_5VL(Qwen2VL):  # noqa: N801 - the model's own name
    """As Qwen2-VL; a video's time ids count seconds (`second_per_grid_ts`)."""
