"""What is compared in blocks is what is compared at once."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole import nearest
from pinhole.benchmark.growth import LargestTensor


def whole_numbers(rows: int, columns: int, seed: int) -> torch.Tensor:
    """Small ones, so that products are exact and many are equal."""
    return torch.randint(-2, 3, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()


@given(a=st.integers(1, 40), b=st.integers(1, 9), rows=st.integers(1, 50), seed=st.integers(0, 999))
def test_the_nearest_is_the_first_of_the_largest_products(a, b, rows, seed):
    x, others = whole_numbers(a, 3, seed), whole_numbers(b, 3, seed + 1)
    nearest.ROWS, before = rows, nearest.ROWS
    try:
        values, numbers = nearest.nearest(x, others)
    finally:
        nearest.ROWS = before
    products = (x @ others.T).tolist()
    assert values.tolist() == [max(row) for row in products]
    assert numbers.tolist() == [row.index(max(row)) for row in products]


@given(n=st.integers(2, 30), rows=st.integers(1, 40), seed=st.integers(0, 999), data=st.data())
def test_neighbours_are_the_others_by_falling_products(n, rows, seed, data):
    unit = whole_numbers(n, 3, seed)
    picked = data.draw(st.lists(st.integers(0, n - 1), max_size=n, unique=True))
    without = [[row, (row + 1) % n] for row in picked]
    k = data.draw(st.integers(0, n - 2))
    nearest.ROWS, before = rows, nearest.ROWS
    try:
        of = torch.tensor(picked, dtype=torch.long)
        found = nearest.neighbours(unit, of, torch.tensor(without, dtype=torch.long).view(-1, 2), k)
    finally:
        nearest.ROWS = before
    products = (unit @ unit.T).tolist()
    for row, out, got in zip(picked, without, found.tolist(), strict=True):
        others = [other for other in range(n) if other not in out]
        assert got == sorted(others, key=lambda other: -products[row][other])[:k]


def test_all_pairs_are_never_held():
    x = torch.randn(4 * nearest.ROWS, 2)
    with LargestTensor() as made:
        nearest.nearest(x, x)
        nearest.neighbours(x, torch.arange(len(x)), torch.arange(len(x))[:, None], 3)
    assert made.elements == nearest.ROWS * len(x)
