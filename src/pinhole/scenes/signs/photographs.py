"""What is behind the signs: crops of the two photographs that scikit-learn ships.

Each split has columns of its own of both photographs, so no crop of one split shows a pixel of another's.
"""

from __future__ import annotations

import functools
import random

import numpy as np
from PIL import Image, ImageOps

from pinhole.scenes.world import SIDE

COLUMNS = {
    "china.jpg": {"test": range(0, 136), "validation": range(136, 272), "train": range(272, 640)},
    "flower.jpg": {"validation": range(0, 154), "test": range(154, 290), "train": range(290, 640)},
}
"""The part of each photograph that each split's crops are from; both photographs are 640 pixels wide."""
_SMALLEST, _LARGEST = 80, 136


def background(split: str, rng: random.Random) -> Image.Image:
    """A crop of random place, size, contrast and brightness, in half of the cases mirrored; `SIDE` pixels a side."""
    name, side = rng.choice(list(COLUMNS)), rng.randint(_SMALLEST, _LARGEST)
    photograph, columns = _photograph(name), COLUMNS[name][split]
    left = rng.randint(columns.start, columns.stop - side)
    top = rng.randint(0, photograph.height - side)
    crop = photograph.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    contrast, brightness = rng.uniform(0.6, 1.1), rng.uniform(-30, 30)
    pixels = (np.asarray(crop, np.float32) - 128) * contrast + 128 + brightness
    crop = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return ImageOps.mirror(crop) if rng.random() < 0.5 else crop


@functools.cache
def _photograph(name: str) -> Image.Image:
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ImportError("the embedded worlds need scikit-learn: pip install 'pinhole-vlm[scenes]'") from error
    return Image.fromarray(load_sample_image(name))
