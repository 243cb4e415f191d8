"""Idefics3 and SmolVLM, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import IMAGE, START, Animal, randomized, text, turn

GRIDS = [(2, 2), (0, 0), (1, 3), (3, 1)]
FAKE, BREAK, OVERVIEW, TILE = START, 60, 61, 62
VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


def idefics3(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.Idefics3Config(vision_config=VISION, text_config=text(), image_token_id=IMAGE)
    return randomized(hf.Idefics3ForConditionalGeneration, config, seed, dtype)


def smolvlm(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.SmolVLMConfig(vision_config=VISION, text_config=text(), image_token_id=IMAGE)
    return randomized(hf.SmolVLMForConditionalGeneration, config, seed, dtype)


def split(model, modality, count, generator, dtype):
    """Pictures of several tiles and an overview, or of the overview alone, as the processor writes them."""
    grids = [GRIDS[i] for i in turn(generator, count, len(GRIDS))]
    tiles = sum(down * across + 1 for down, across in grids)
    pixels = torch.randn(1, tiles, 3, 32, 32, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [written(*grid, 4) for grid in grids]


def written(down: int, across: int, length: int) -> list[int]:
    ids: list[int] = []
    for row in range(down):
        for column in range(across):
            ids += [FAKE, TILE + 6 * row + column, *[IMAGE] * length]
        ids += [BREAK]
    return [*ids, *([BREAK] if down else []), FAKE, OVERVIEW, *[IMAGE] * length, FAKE]


ANIMALS = {"idefics3": Animal(idefics3, split), "smolvlm": Animal(smolvlm, split)}
