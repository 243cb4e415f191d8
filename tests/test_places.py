from __future__ import annotations

import math

import pytest
import torch

from pinhole.layout import Layout, View
from pinhole.places import NUMBERS, places


def by_hand(down: float, across: float, time: float) -> list[float]:
    angles = [math.pi * 2**k * share for share in (down, across, time) for k in range(4)]
    return [*map(math.sin, angles), *map(math.cos, angles), 0.0]


def test_a_token_is_told_by_its_centre():
    found = places(Layout.of(View(2, 4)))
    assert found.shape == (8, NUMBERS)
    torch.testing.assert_close(found[6], torch.tensor(by_hand(0.75, 0.625, 0.0)))


def test_the_frame_of_a_video_is_its_share_of_the_length():
    found = places(Layout.of(*(View(1, 1, frame=frame) for frame in range(3))))
    torch.testing.assert_close(found[1], torch.tensor(by_hand(0.5, 0.5, 0.5)))
    torch.testing.assert_close(found[2], torch.tensor(by_hand(0.5, 0.5, 1.0)))


def test_the_same_place_has_the_same_numbers_at_any_resolution():
    coarse, fine = places(Layout.of(View(12, 12))), places(Layout.of(View(36, 36)))
    middle = fine.view(36, 36, NUMBERS)[1::3, 1::3].reshape(144, NUMBERS)
    torch.testing.assert_close(middle, coarse, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layout", [Layout.of(View(1, 2), 1), Layout.of(View(1, 2), View(1, 1, box=None))])
def test_what_shows_no_place_says_so_and_nothing_else(layout):
    found = places(layout)
    assert found.isfinite().all()
    assert found[2].tolist() == [0.0] * (NUMBERS - 1) + [1.0]
    assert (found[:2, -1] == 0).all()
