"""Models that read one image of fixed size as LLaVA does, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.llava import squares
from zoo.parts import IMAGE, Animal, randomized, text, tower


def vipllava(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.VipLlavaConfig(
        vision_config=tower(hf.CLIPVisionConfig),
        text_config=text(),
        image_token_index=IMAGE,
        vision_feature_layer=[-2, 1],
    )
    return randomized(hf.VipLlavaForConditionalGeneration, config, seed, dtype)


def deepseek_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.DeepseekVLConfig(
        vision_config=tower(hf.SiglipVisionConfig, vision_use_head=False), text_config=text(), image_token_id=IMAGE
    )
    return randomized(hf.DeepseekVLForConditionalGeneration, config, seed, dtype)


ANIMALS = {
    "vipllava": Animal(vipllava, squares),
    "deepseek_vl": Animal(deepseek_vl, squares),
}
