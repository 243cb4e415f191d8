"""The models that Pinhole has ports of, tiny."""

from __future__ import annotations

import functools

import torch

from models.vila_tiny import SIDE, VISUAL, tiny_vila
from models.xcomposer2_tiny import tiny_xcomposer2
from pinhole.models.xcomposer2 import count_tokens
from zoo.parts import IMAGE, Animal, turn

GRIDS = [[1, 2], [1, 1], [2, 2], [3, 1]]


def viewed(model, modality, count, generator, dtype):
    """Pictures of one to four tiles."""
    grids = [GRIDS[i] for i in turn(generator, count, len(GRIDS))]
    views = sum(1 + rows * columns for rows, columns in grids)
    pixels = torch.randn(views, 3, 16, 16, generator=generator, dtype=torch.float64).to(dtype)
    places = [[IMAGE] * count_tokens(*grid, model.config.tokens_per_side) for grid in grids]
    return {"pixel_values": pixels, "tile_grids": torch.tensor(grids)}, places


def joined(model, modality, count, generator, dtype):
    """One square image each, patches joined two by two."""
    pixels = torch.randn(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [[IMAGE] * VISUAL] * count


ANIMALS = {
    "vila": Animal(functools.partial(tiny_vila, layers=4), joined),
    "xcomposer2": Animal(functools.partial(tiny_xcomposer2, layers=4), viewed),
}
