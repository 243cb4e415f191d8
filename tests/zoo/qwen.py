"""The Qwen models, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import BOTH, END, IMAGE, START, VIDEO, WIDTH, Animal, randomized, text, turn

ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
MARKS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}

DEEPSTACK = {
    "depth": 3,
    "hidden_size": 32,
    "out_hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}


def qwen2_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": WIDTH,
        "mlp_ratio": 2,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    words = text(hf.models.qwen2_vl.Qwen2VLTextConfig, rope_parameters=ROPE)
    config = hf.Qwen2VLConfig(text_config=words.to_dict(), vision_config=vision, **MARKS)
    return randomized(hf.Qwen2VLForConditionalGeneration, config, seed, dtype)


def qwen2_5_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    words = text(hf.models.qwen2_5_vl.Qwen2_5_VLTextConfig, rope_parameters=ROPE)
    config = hf.Qwen2_5_VLConfig(text_config=words.to_dict(), vision_config=vision, **MARKS)
    return randomized(hf.Qwen2_5_VLForConditionalGeneration, config, seed, dtype)


def qwen3_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    words = text(hf.Qwen3VLTextConfig, rope_parameters=ROPE, head_dim=8)
    config = hf.Qwen3VLConfig(text_config=words.to_dict(), vision_config=DEEPSTACK, **MARKS)
    return randomized(hf.Qwen3VLForConditionalGeneration, config, seed, dtype)


def qwen3_vl_moe(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    experts = {"moe_intermediate_size": 16, "num_experts_per_tok": 2, "num_experts": 4}
    words = text(hf.Qwen3VLMoeTextConfig, rope_parameters=ROPE, head_dim=8, **experts)
    config = hf.Qwen3VLMoeConfig(text_config=words.to_dict(), vision_config=DEEPSTACK, **MARKS)
    return randomized(hf.Qwen3VLMoeForConditionalGeneration, config, seed, dtype)


IMAGE_GRIDS = [[1, 4, 6], [1, 8, 4], [1, 4, 4], [1, 6, 6]]
VIDEO_GRIDS = [[3, 4, 4], [2, 4, 6], [2, 6, 4]]


def merged(model, modality, count, generator, dtype):
    """Pictures or videos of unlike grids, patches in one long row."""
    kinds = VIDEO_GRIDS if modality == "video" else IMAGE_GRIDS
    grids = torch.tensor([kinds[i] for i in turn(generator, count, len(kinds))])
    pixels = torch.randn(int(grids.prod(-1).sum()), 3 * 2 * 4 * 4, generator=generator, dtype=torch.float64).to(dtype)
    names = ("pixel_values_videos", "video_grid_thw") if modality == "video" else ("pixel_values", "image_grid_thw")
    inputs = {names[0]: pixels, names[1]: grids}
    if modality == "video" and isinstance(model, hf.Qwen2_5_VLForConditionalGeneration):
        inputs["second_per_grid_ts"] = torch.tensor([1.5] * count)
    token = VIDEO if modality == "video" else IMAGE
    if modality == "video" and model.config.model_type.startswith("qwen3"):  # a time stamp before each frame
        return inputs, [
            [id for step in range(t) for id in (60 + step, START, *[token] * (h * w // 4), END)]
            for t, h, w in grids.tolist()
        ]
    return inputs, [[START, *[token] * (t * h * w // 4), END] for t, h, w in grids.tolist()]


ANIMALS = {
    "qwen2_vl": Animal(qwen2_vl, merged, BOTH, "mm_token_type_ids"),
    "qwen2_5_vl": Animal(qwen2_5_vl, merged, BOTH, "mm_token_type_ids"),
    "qwen3_vl": Animal(qwen3_vl, merged, BOTH, "mm_token_type_ids"),
    "qwen3_vl_moe": Animal(qwen3_vl_moe, merged, BOTH, "mm_token_type_ids"),
}
