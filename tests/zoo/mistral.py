"""Mistral Small 3.1, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import END, IMAGE, Animal, randomized, text, tower, turn

SIZES = [(32, 48), (48, 16), (48, 48), (16, 32)]
BREAK = 60


def mistral3(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.Mistral3Config(
        vision_config=tower(hf.PixtralVisionConfig, patch=8),
        text_config=text(hf.MistralConfig, head_dim=8, sliding_window=None),
        image_token_index=IMAGE,
    )
    return randomized(hf.Mistral3ForConditionalGeneration, config, seed, dtype)


def ruled(model, modality, count, generator, dtype):
    """Pictures of unlike sizes, padded to the largest; a line break behind each row of a picture's tokens."""
    sizes = torch.tensor([SIZES[i] for i in turn(generator, count, len(SIZES))])
    pixels = torch.zeros(count, 3, 48, 48, dtype=dtype)
    for image, (height, width) in zip(pixels, sizes.tolist(), strict=True):
        values = torch.randn(3, height, width, generator=generator, dtype=torch.float64)
        image[:, :height, :width] = values.to(dtype)
    grids = (sizes // 16).tolist()
    places = [[*[*[IMAGE] * columns, BREAK] * (rows - 1), *[IMAGE] * columns, END] for rows, columns in grids]
    return {"pixel_values": pixels, "image_sizes": sizes}, places


ANIMALS = {"mistral3": Animal(mistral3, ruled)}
