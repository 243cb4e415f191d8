"""The GLM models, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import BOTH, END, IMAGE, START, VIDEO, WIDTH, Animal, randomized, text
from zoo.qwen import merged

ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "out_hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_heads": 2,
    "image_size": 32,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
MARKS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "image_start_token_id": START, "image_end_token_id": END}
EXPERTS = {
    "head_dim": 8,
    "moe_intermediate_size": 16,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}


def glm4v(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    words = text(hf.models.glm4v.Glm4vTextConfig, rope_parameters=ROPE)
    config = hf.Glm4vConfig(text_config=words.to_dict(), vision_config=VISION, **MARKS)
    return randomized(hf.Glm4vForConditionalGeneration, config, seed, dtype)


def glm46v(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    words = text(hf.models.glm4v.Glm4vTextConfig, rope_parameters=ROPE)
    config = hf.Glm46VConfig(
        text_config=words.to_dict(), vision_config={"model_type": "glm4v_vision", **VISION}, **MARKS
    )
    return randomized(hf.Glm46VForConditionalGeneration, config, seed, dtype)


def glm4v_moe(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    words = text(hf.models.glm4v_moe.Glm4vMoeTextConfig, rope_parameters=ROPE, **EXPERTS)
    config = hf.Glm4vMoeConfig(text_config=words.to_dict(), vision_config=VISION, **MARKS)
    return randomized(hf.Glm4vMoeForConditionalGeneration, config, seed, dtype)


def framed(model, modality, count, generator, dtype):
    """As Qwen's pictures and videos, but each frame is a picture in the prompt, with a time stamp behind it."""
    inputs, places = merged(model, modality, count, generator, dtype)
    if modality == "video":
        places = [
            [id for step in range(t) for id in (START, *[IMAGE] * (h * w // 4), END, 60 + step)]
            for t, h, w in inputs["video_grid_thw"].tolist()
        ]
    return inputs, places


ANIMALS = {
    "glm4v": Animal(glm4v, framed, BOTH, "mm_token_type_ids"),
    "glm46v": Animal(glm46v, framed, BOTH, "mm_token_type_ids"),
    "glm4v_moe": Animal(glm4v_moe, framed, BOTH, "mm_token_type_ids"),
}
