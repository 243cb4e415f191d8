"""Models that read a picture tile by tile, each with other marks between the tiles, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from zoo.parts import END, IMAGE, START, Animal, randomized, text, tower, turn

GRIDS = [(2, 2), (0, 0), (1, 3), (2, 1)]
MARKS = [START, 60, 61, 62, END]
WINDOWS = {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 2}


def aya_vision(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.AyaVisionConfig(
        vision_config=tower(hf.SiglipVisionConfig, vision_use_head=False),
        text_config=text(hf.Cohere2Config, **WINDOWS),
        image_token_index=IMAGE,
    )
    return randomized(hf.AyaVisionForConditionalGeneration, config, seed, dtype)


def cohere2_vision(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.Cohere2VisionConfig(
        vision_config=tower(hf.SiglipVisionConfig, vision_use_head=False),
        text_config=text(hf.Cohere2Config, **WINDOWS),
        image_token_id=IMAGE,
        alignment_intermediate_size=48,
    )
    return randomized(hf.Cohere2VisionForConditionalGeneration, config, seed, dtype)


def ovis2(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.Ovis2Config(
        vision_config=tower(hf.Ovis2VisionConfig, hidden_stride=2, vocab_size=40).to_dict(),
        text_config=text(hf.Qwen2Config),
        image_token_id=IMAGE,
        visual_indicator_token_ids=MARKS,
        hidden_size=32,
        vocab_size=256,
    )
    return randomized(hf.Ovis2ForConditionalGeneration, config, seed, dtype)


def got_ocr2(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "hidden_size": 16,
        "output_channels": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "window_size": 4,
        "global_attn_indexes": [1],
        "mlp_dim": 32,
    }
    config = hf.GotOcr2Config(vision_config=vision, text_config=text(hf.Qwen2Config), image_token_index=IMAGE)
    return randomized(hf.GotOcr2ForConditionalGeneration, config, seed, dtype)


def pieces(model, modality, count, generator, dtype):
    """Pictures of several tiles and an overview, or of the overview alone, as the model's processor writes them."""
    grids = [GRIDS[i] for i in turn(generator, count, len(GRIDS))]
    side = model.config.vision_config.image_size
    tiles = sum(down * across + 1 for down, across in grids)
    pixels = torch.randn(tiles, 3, side, side, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [WRITTEN[model.config.model_type](*grid) for grid in grids]


def _aya_vision(down: int, across: int) -> list[int]:
    ids = [START]
    for tile in range(down * across):
        ids += [60, 70 + tile, *[IMAGE] * 4]
    return [*ids, 61, *[IMAGE] * 4, END]


def _cohere2_vision(down: int, across: int) -> list[int]:
    return [START, *[*[IMAGE] * 4, 60] * (down * across + 1), END]


def _ovis2(down: int, across: int) -> list[int]:
    row = [IMAGE] * 4
    row = [*[*row, MARKS[2]] * (across - 1), *row]
    rows = [*[*row, MARKS[3]] * (down - 1), *row] if down else []
    return [MARKS[0], *[IMAGE] * 4, MARKS[1], *rows, MARKS[4]]


def _got_ocr2(down: int, across: int) -> list[int]:
    return [START, *[IMAGE] * 4 * (down * across + 1), END]


WRITTEN = {
    "aya_vision": _aya_vision,
    "cohere2_vision": _cohere2_vision,
    "ovis2": _ovis2,
    "got_ocr2": _got_ocr2,
}
ANIMALS = {
    "aya_vision": Animal(aya_vision, pieces),
    "cohere2_vision": Animal(cohere2_vision, pieces),
    "ovis2": Animal(ovis2, pieces),
    "got_ocr2": Animal(got_ocr2, pieces),
}
