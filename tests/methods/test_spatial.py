from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole import Spatial, VisualTokens, kept_tokens
from pinhole.layout import Layout, View


def image(rows: int, columns: int, width: int = 5, gridded: bool = True) -> VisualTokens:
    x = torch.randn(rows * columns, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return VisualTokens(x, Layout.of(View(rows, columns) if gridded else rows * columns), x)


@pytest.mark.parametrize(("side", "keep", "kernel"), [(12, 36, 2), (12, 16, 3), (24, 36, 4), (6, 1, 6)])
def test_an_even_split_equals_average_pooling(side, keep, kernel):
    tokens = image(side, side)
    pooled = torch.nn.functional.avg_pool2d(tokens.x.T.view(1, 5, side, side), kernel)[0].flatten(1).T
    torch.testing.assert_close(Spatial(keep=keep).reduce(tokens).apply(tokens.x), pooled)


def test_an_uneven_split_has_smaller_rectangles_at_the_border():
    tokens = image(3, 5)
    reduction = Spatial(keep=6).reduce(tokens)  # 2 x 2 windows: 2 rows of 3
    x = tokens.x.view(3, 5, 5)
    expected = [x[r : r + 2, c : c + 2].reshape(-1, 5).mean(0) for r in (0, 2) for c in (0, 2, 4)]
    torch.testing.assert_close(reduction.apply(tokens.x), torch.stack(expected))


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), data=st.data())
def test_the_count_never_exceeds_the_budget_and_is_what_comes_out(rows, columns, data):
    keep = data.draw(st.one_of(st.integers(1, rows * columns), st.floats(0.01, 1)))
    method, tokens = Spatial(keep=keep), image(rows, columns)
    m = method.count(tokens.n, tokens.layout)
    weights = method.reduce(tokens).matrix()
    assert m <= kept_tokens(tokens.n, keep)
    assert weights.shape == (m, tokens.n)
    assert ((weights > 0).sum(0) == 1).all(), "each token is in one rectangle"
    torch.testing.assert_close(weights.sum(1), torch.ones(m, dtype=weights.dtype))
    best = max(
        outputs
        for h in range(1, rows + 1)
        for w in range(1, columns + 1)
        if (outputs := -(-rows // h) * -(-columns // w)) <= kept_tokens(tokens.n, keep)
    )
    assert m == best


def test_among_equal_counts_the_squarest_rectangle_is_taken():
    tokens = image(6, 6)
    weights = Spatial(keep=9).reduce(tokens).matrix()
    assert weights[0].nonzero().flatten().tolist() == [0, 1, 6, 7]


def test_tokens_that_fill_no_grid_are_pooled_as_one_row():
    tokens = image(1, 10, gridded=False)
    expected = tokens.x.view(5, 2, 5).mean(1)
    assert Spatial(keep=0.5).count(10) == 5
    torch.testing.assert_close(Spatial(keep=0.5).reduce(tokens).apply(tokens.x), expected)


def test_keeping_everything_is_the_identity():
    tokens = image(4, 4)
    assert torch.equal(Spatial(keep=1.0).reduce(tokens).apply(tokens.x), tokens.x)
