"""A merge is the mixture of its matrix, whatever is done with it, but that it holds only what is not 0."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole import Reduction
from pinhole.layout import Layout, View


@st.composite
def merges(draw, n=None):
    """A merge of n tokens into up to 6, entries in any order; equal weights are common."""
    n, m = n or draw(st.integers(1, 9)), draw(st.integers(1, 6))
    members = [draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True)) for _ in range(m)]
    places = draw(st.permutations([(row, column) for row, columns in enumerate(members) for column in columns]))
    weights = [draw(st.sampled_from([0.25, 0.5, 1.0, 3.0])) for _ in places]
    rows, columns = torch.tensor(places).T
    return Reduction.merge(rows, columns, m, n, torch.tensor(weights))


def tokens(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def dense(reduction):
    return Reduction.mix(reduction.matrix())


def selections(n):
    kept = st.lists(st.integers(0, n - 1), min_size=1, max_size=5)
    return kept.map(lambda indices: Reduction.select(torch.tensor(indices), n))


def mixtures(n):
    return st.integers(1, 4).map(lambda m: Reduction.mix(torch.rand(m, n)))


def reductions(n):
    return st.one_of(merges(n), selections(n), mixtures(n))


def assert_same(made, expected):
    """Both are the same P, and all that is told of it agrees."""
    assert (made.n, made.m) == (expected.n, expected.m)
    torch.testing.assert_close(made.matrix(), expected.matrix())
    torch.testing.assert_close(made.usage(), expected.usage())
    assert torch.equal(made.anchors, expected.anchors)
    x = tokens(made.n)
    torch.testing.assert_close(made.apply(x), expected.apply(x))


@given(merges())
def test_it_is_the_mixture_of_its_matrix(reduction):
    assert_same(reduction, dense(reduction))
    assert repr(reduction).endswith("merge)")


@given(merges(), st.data())
def test_its_rows_are_reordered(reduction, data):
    order = torch.tensor(data.draw(st.permutations(range(reduction.m))))
    moved = reduction.reorder(order)
    assert_same(moved, dense(reduction).reorder(order))
    assert moved.sizes is not None


@given(st.integers(1, 9).flatmap(reductions), st.data())
def test_another_may_follow(first, data):
    later = data.draw(reductions(first.m))
    both = first.then(later)
    assert_same(both, dense(first).then(dense(later)))
    held = {first.indices is None, later.indices is None}
    assert (both.indices is None) == (True in held), "sparse as long as both are"
    assert (both.weights is None) == (first.weights is None and later.weights is None)


@given(st.lists(st.integers(1, 5).flatmap(reductions), min_size=1, max_size=3), st.randoms())
def test_parts_are_joined(parts, random):
    n = sum(part.n for part in parts)
    shuffled = list(range(n))
    random.shuffle(shuffled)
    taken = torch.tensor(shuffled).split([part.n for part in parts])
    joined = Reduction.join(list(zip(taken, parts, strict=True)), n)
    assert_same(joined, Reduction.join([(own, dense(part)) for own, part in zip(taken, parts, strict=True)], n))
    assert (joined.indices is None) == any(part.indices is None for part in parts)
    assert (joined.weights is None) == all(part.weights is None for part in parts)


@given(merges())
def test_gradients_are_those_of_the_mixture(reduction):
    entries, x = reduction.weights.clone().requires_grad_(), tokens(reduction.n).requires_grad_()
    rows, columns = torch.arange(reduction.m).repeat_interleave(reduction.sizes), reduction.indices
    p = torch.zeros(reduction.m, reduction.n).index_put((rows, columns), entries)
    pull = torch.randn(reduction.m, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((p @ x * pull).sum(), (entries, x))
    made = Reduction.merge(rows, columns, reduction.m, reduction.n, entries)
    for got in (made, made.reorder(torch.arange(reduction.m))):
        found = torch.autograd.grad((got.apply(x) * pull).sum(), (entries, x), retain_graph=True)
        torch.testing.assert_close(found, expected)


@given(merges())
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, reduction):
    path = tmp_path_factory.mktemp("p") / "p.safetensors"
    placed = reduction.placed(Layout.of(View(1, reduction.n)))
    placed.save(path)
    loaded = Reduction.load(path)
    assert_same(loaded, reduction)
    assert torch.equal(loaded.sizes, reduction.sizes)
    assert loaded.layout.views == placed.layout.views


def test_without_weights_every_kept_token_is_the_mean_of_its_own():
    reduction = Reduction.merge(torch.tensor([1, 0, 1]), torch.tensor([3, 1, 0]), 2, 4)
    assert reduction.matrix().tolist() == [[0, 1, 0, 0], [0.5, 0, 0, 0.5]]
    assert reduction.anchors.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    n = 5000  # summed up in half precision a mean of so many ones stops far below 1
    reduction = Reduction.merge(torch.zeros(n, dtype=torch.long), torch.arange(n), 1, n, torch.ones(n))
    x = torch.ones(n, 3, dtype=dtype)
    for each in (reduction, dense(reduction)):
        assert each.apply(x).dtype == dtype
        assert each.apply(x)[0].tolist() == pytest.approx([n] * 3, rel=0.004)


def test_nothing_follows():
    merged = Reduction.merge(torch.tensor([0, 0]), torch.tensor([0, 1]), 1, 2).placed(Layout.of(View(1, 2)))
    nothing = merged.then(Reduction.nothing(1))
    assert (nothing.n, nothing.m, nothing.layout) == (2, 0, merged.layout)


@pytest.mark.parametrize(
    ("rows", "columns", "weights", "message"),
    [
        ([0, 2], [0, 1], [1.0, 1.0], r"rows lie in \[0, 2\), got \[0, 2\]"),
        ([0, -1], [0, 1], [1.0, 1.0], r"rows lie in \[0, 2\), got \[-1, 0\]"),
        ([0, 1], [0, 4], [1.0, 1.0], r"columns lie in \[0, 4\), got \[0, 4\]"),
        ([1, 1], [0, 1], [1.0, 1.0], "something for each of 2 kept tokens, got 1 different"),
        ([0, 1, 0], [3, 0, 3], [1.0, 1.0, 1.0], "one weight for a place in P, got several"),
        ([0, 1], [0, 1, 2], [1.0, 1.0], r"int64, int64 and floats; got torch.int64 \(2,\), torch.int64 \(3,\)"),
        ([0, 1], [0, 1], [1, 1], "int64, int64 and floats; got .* torch.int64"),
        ([0.0, 1.0], [0, 1], [1.0, 1.0], "int64, int64 and floats; got torch.float32"),
        ([], [], None, "got torch.float32"),
        ([[0, 1]], [[0, 1]], None, r"\(1, 2\)"),
    ],
)
def test_anything_else_is_refused(rows, columns, weights, message):
    given_weights = None if weights is None else torch.tensor(weights)
    with pytest.raises(ValueError, match=message):
        Reduction.merge(torch.tensor(rows), torch.tensor(columns), 2, 4, given_weights)
