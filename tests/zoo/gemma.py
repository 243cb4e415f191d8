"""Gemma 3, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.llava import squares
from zoo.parts import END, IMAGE, START, Animal, randomized, text, tower


def gemma3(seed: int = 0, dtype: torch.dtype = torch.float64, window: int = 128) -> Any:
    words = text(
        hf.Gemma3TextConfig,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    )
    config = hf.Gemma3Config(
        vision_config=tower(hf.SiglipVisionConfig, patch=6, vision_use_head=False),
        text_config=words,
        mm_tokens_per_image=16,
        image_token_index=IMAGE,
        boi_token_index=START,
        eoi_token_index=END,
    )
    return randomized(hf.Gemma3ForConditionalGeneration, config, seed, dtype)


ANIMALS = {"gemma3": Animal(gemma3, squares, token_types="token_type_ids")}
