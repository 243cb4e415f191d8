"""Qwen2.5-VL: `Qwen2_5_VLForConditionalGeneration`, Qwen2-VL with windows in its encoder and absolute time."""

from __future__ import annotations

from typing import Any

import torch
from transformers.vision_utils import get_vision_window_index

from pinhole.families.qwen2_vl import Qwen2VL


class Qwen2_5VL(Qwen2VL):  # noqa: N801 - the model's own name
    """As Qwen2-VL; a video's time ids count seconds (`second_per_grid_ts`).

    The encoder sorts patches by windows. Its last layer attends within a whole image or step in time where the
    configuration says so (`fullatt_block_indexes`: in published checkpoints), else within each window, and so is
    `received_attention`.
    """

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the patches that are merged, sorted back from windows."""
        vision = self.model.config.vision_config
        order, _ = get_vision_window_index(
            self.grids(modality, inputs), self.merge, vision.window_size, vision.patch_size
        )
        return super().per_token(modality, inputs, patches)[order.argsort().to(patches.device)]
