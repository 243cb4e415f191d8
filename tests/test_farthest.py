from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole.farthest import farthest_first


def by_hand(points: list[list[float]], m: int) -> list[int]:
    def apart(a, b):
        return sum((u - v) ** 2 for u, v in zip(a, b, strict=True))

    mean = [sum(column) / len(points) for column in zip(*points, strict=True)]
    picks = [max(range(len(points)), key=lambda i: apart(points[i], mean))]
    while len(picks) < m:
        left = [i for i in range(len(points)) if i not in picks]
        picks.append(max(left, key=lambda i: min(apart(points[i], points[j]) for j in picks)))
    return sorted(picks)


@given(st.data())
def test_it_is_the_greedy_traversal_in_plain_loops(data):
    # whole numbers: distances are exact but for those to the mean, which has a power of two as its denominator
    n = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
    points = data.draw(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=n, max_size=n))
    m = data.draw(st.integers(1, n))
    found = farthest_first(torch.tensor(points, dtype=torch.float64), m)
    assert found.tolist() == by_hand([[float(v) for v in point] for point in points], m)


def test_the_mean_is_left_first_and_a_crowd_gets_one_pick():
    points = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.1, 0.1], [5.0, 0.0], [0.0, -7.0]])
    assert farthest_first(points, 1).tolist() == [5]
    assert farthest_first(points, 3).tolist() == [2, 4, 5]


@pytest.mark.parametrize("m", [1, 3, 6])
def test_among_duplicates_no_point_is_picked_twice(m):
    assert len(farthest_first(torch.ones(6, 4), m).unique()) == m


def test_rounding_does_not_decide_between_duplicates():
    torch.manual_seed(0)
    points = torch.randn(6, 4, dtype=torch.float64).repeat(3, 1)
    expected = farthest_first(points, 6)
    assert expected.tolist() == [0, 1, 2, 3, 4, 5]
    for _ in range(5):
        assert torch.equal(farthest_first(points + 1e-9 * torch.randn_like(points), 6), expected)


def test_choosing_is_not_differentiated():
    assert not farthest_first(torch.randn(8, 3, requires_grad=True), 4).requires_grad
