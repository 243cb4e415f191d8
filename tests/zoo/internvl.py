"""InternVL, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import END, IMAGE, START, Animal, randomized, text, turn


def internvl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = hf.InternVLVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=[48, 48],
        patch_size=[8, 8],
    )
    config = hf.InternVLConfig(
        vision_config=vision, text_config=text(hf.Qwen2Config), image_token_id=IMAGE, image_seq_length=9
    )
    return randomized(hf.InternVLForConditionalGeneration, config, seed, dtype)


def crops(model, modality, count, generator, dtype):
    """Pictures of one, three or five tiles."""
    tiles = [(3, 1, 5)[i] for i in turn(generator, count, 3)]
    pixels = torch.randn(sum(tiles), 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [[START, *[IMAGE] * 9 * number, END] for number in tiles]


ANIMALS = {"internvl": Animal(internvl, crops)}
