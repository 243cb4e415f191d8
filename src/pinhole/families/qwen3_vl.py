"""Qwen3-VL: `Qwen3VLForConditionalGeneration`, Qwen2.5-VL with features for deeper layers and time stamps in videos."""

from __future__ import annotations

from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.families.parts import Features
from pinhole.families.qwen2_vl import Qwen2VL


class Qwen3VL(Qwen2VL):
    """The first LLM layers add features of their own ("deepstack") to the visual tokens: they get the same P.

    Time stamps stand as text between a video's frames: they stay, and each kept token stays behind its own frame's.
    """

    @property
    def first_cut(self) -> int:
        """Behind the last layer to which features are added."""
        return len(self.model.config.vision_config.deepstack_visual_indexes)

    def features(self, modality: str, output: BaseModelOutputWithPooling) -> Features:
        """With the deeper layers' features."""
        return Features(list(output.pooler_output), [list(layer) for layer in output.deepstack_features])
