from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from pinhole.scenes.signs.photographs import COLUMNS, background
from pinhole.scenes.world import SIDE, SPLITS


@pytest.mark.parametrize("name", list(COLUMNS))
def test_no_two_splits_share_a_pixel_of_a_photograph(name):
    from sklearn.datasets import load_sample_image

    width = load_sample_image(name).shape[1]
    assert set(COLUMNS[name]) == set(SPLITS)
    assert all(0 <= columns.start < columns.stop <= width for columns in COLUMNS[name].values())
    for one, other in combinations(COLUMNS[name].values(), 2):
        assert not set(one) & set(other)


@pytest.mark.parametrize("split", SPLITS)
def test_crops_are_from_the_splits_columns(split, monkeypatch):
    """Of photographs whose red says which column a pixel is in, a crop shows those of its split alone."""
    from sklearn import datasets

    from pinhole.scenes.signs import photographs

    columns = np.broadcast_to((np.arange(640) * 255 / 639)[None, :, None], (427, 640, 3)).astype(np.uint8)
    monkeypatch.setattr(datasets, "load_sample_image", lambda name: columns)
    monkeypatch.setattr(random.Random, "uniform", lambda *_: CONTRAST_BRIGHTNESS.pop())
    photographs._photograph.cache_clear()
    for name in COLUMNS:
        monkeypatch.setattr(photographs, "COLUMNS", {name: COLUMNS[name]})
        for seed in range(20):
            CONTRAST_BRIGHTNESS[:] = [0.0, 1.0]
            seen = np.asarray(background(split, random.Random(seed)))[:, :, 0] * (639 / 255)
            assert seen.min() >= COLUMNS[name][split].start - 4
            assert seen.max() <= COLUMNS[name][split].stop + 4
    photographs._photograph.cache_clear()


CONTRAST_BRIGHTNESS: list[float] = []


def test_crops_differ_have_texture_and_are_decided_by_their_random_numbers():
    made = [np.asarray(background("train", random.Random(seed)), np.float32) for seed in range(40)]
    assert all(crop.shape == (SIDE, SIDE, 3) for crop in made)
    assert len({crop.tobytes() for crop in made}) == 40
    assert np.median([crop.std((0, 1)).mean() for crop in made]) > 15
    assert np.array_equal(made[3], np.asarray(background("train", random.Random(3)), np.float32))
