from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pinhole import VisualTokens
from pinhole.layout import Layout
from pinhole.methods.divprune import DivPrune


def image(x: torch.Tensor) -> VisualTokens:
    return VisualTokens(x, Layout.of(len(x)), torch.zeros(1))


def kept(x: torch.Tensor, m: int) -> list[int]:
    return DivPrune(keep=m).reduce(image(x)).indices.tolist()


def tokens(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at(*degrees: float) -> torch.Tensor:
    """Tokens of two numbers that point in these directions, each longer than the one before."""
    lengths = torch.arange(1.0, len(degrees) + 1)
    return torch.view_as_real(torch.polar(lengths, torch.tensor(degrees).float().deg2rad()))


def distance(a: list[float], b: list[float]) -> float:
    norms = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
    return 1 - (sum(v * w for v, w in zip(a, b, strict=True)) / norms if norms else 0.0)


def by_loops(x: list[list[float]], m: int) -> list[int]:
    """Algorithm 1 of the paper, one number at a time."""
    picks: list[int] = []
    while len(picks) < m:
        best, farthest = -1, -math.inf
        for i in range(len(x)):
            others = picks or [j for j in range(len(x)) if j != i]
            nearest = min((distance(x[i], x[j]) for j in others), default=math.inf)
            if i not in picks and nearest > farthest:
                best, farthest = i, nearest
        picks.append(best)
    return sorted(picks)


def test_a_case_by_hand():
    # angles to the nearest other: 10, 10, 70, 120 degrees -> the one at 200 degrees is the loneliest
    # angles to it: 160, 170, 120 -> the one at 10 degrees; nearest picks then: 10 (of 0), 70 (of 80) -> 80 degrees
    x = at(0, 10, 80, 200)
    assert [kept(x, m) for m in (1, 2, 3, 4)] == [[3], [1, 3], [1, 2, 3], [0, 1, 2, 3]]
    assert kept(at(80, 200, 10, 0), 2) == [1, 2], "the order of the image is kept"


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 1000), st.data())
def test_picks_equal_the_algorithm_in_plain_loops(n, width, seed, data):
    x, m = tokens(n, width, seed), data.draw(st.integers(1, n))
    assert kept(x, m) == by_loops(x.tolist(), m)


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 9), st.integers(2, 4), st.integers(0, 1000))
def test_each_pick_is_the_best_next_one_and_the_whole_is_half_as_spread_as_any_subset(n, width, seed):
    x = tokens(n, width, seed)
    unit = x / x.norm(dim=-1, keepdim=True)
    angle = (unit @ unit.T).clamp(-1, 1).acos()  # grows with the distance, and is a metric

    def spread(subset) -> float:
        return min(angle[i, j].item() for i, j in itertools.combinations(subset, 2))

    before = set(kept(x, 1))
    for m in range(2, n):
        now = set(kept(x, m))
        [new] = now - before
        others = [min(angle[i, j].item() for j in before) for i in range(n) if i not in before]
        assert min(angle[new, j].item() for j in before) == pytest.approx(max(others))
        assert 2 * spread(now) >= max(map(spread, itertools.combinations(range(n), m))) - 1e-9
        before = now


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_lengths_do_not_matter(dtype):
    x = tokens(40, 16, 0).to(dtype)
    factors = 2.0 ** torch.arange(-3, 5, dtype=dtype).repeat(5)[:, None]
    assert kept(x, 9) == kept(factors * x, 9)


def test_duplicates_are_picked_last_and_the_earliest_of_them_first():
    x = tokens(30, 64, 0).float()
    x[[4, 11, 19, 25]] = x[7].clone()
    order = [set(kept(x, m)) for m in range(1, 31)]
    assert order[25] == set(range(30)) - {7, 11, 19, 25}, "26 tokens differ, and 4 is the earliest of its five"
    assert [sorted(b - a) for a, b in itertools.pairwise(order[25:])] == [[7], [11], [19], [25]]
    assert kept(torch.ones(6, 3), 5) == [0, 1, 2, 3, 4]


def test_which_duplicate_is_kept_does_not_hang_on_rounding():
    newlines = torch.tensor([9, 19, 40, 41, 42])
    for seed in range(20):  # products of equal numbers differ in the last bit at the edge of a matrix
        x = tokens(43, 32, seed)
        x[newlines] = x[9].clone()
        assert set(kept(x, 39)) & set(newlines.tolist()) == {9}


def test_of_two_tokens_that_are_each_others_nearest_the_earlier_is_picked():
    for seed in range(20):
        x = 0.1 * tokens(43, 32, seed) + tokens(1, 32, seed + 100)  # all much alike
        x[[7, 41]] = tokens(2, 32, seed + 200) + 3 * tokens(1, 32, seed + 300)  # but for two
        assert kept(x, 1) == [7]


def test_a_token_of_zeros_is_at_distance_one_from_every_other():
    # distances: 0-1 0.29, 0-2 2, 1-2 1.71, and 1 to the zeros: the third and the zeros tie; then 2 from it is the first
    x = torch.cat([at(0, 45, 180), torch.zeros(1, 2)])
    assert [kept(x, m) for m in (1, 2, 3)] == [[2], [0, 2], [0, 2, 3]]
    assert kept(torch.zeros(4, 2), 3) == [0, 1, 2]


def test_no_pick_waits_for_the_device():
    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    def waits(m: int) -> int:
        with Waits() as mode:
            kept(tokens(50, 8, 0), m)
        return mode.count

    assert waits(40) == waits(2)


def test_flops_are_those_of_the_cosines():
    with FlopCounterMode(display=False) as counter:
        kept(tokens(20, 8, 0), 5)
    assert DivPrune(keep=5).flops(20, 5, 8) == counter.get_total_flops()


def test_there_is_nothing_to_set_and_a_count_is_a_count():
    assert DivPrune().settings() == {}
    assert DivPrune(keep=0.098).count(576) == 56
    with pytest.raises(ValueError, match="cannot keep 9 of 5"):
        kept(tokens(5, 2, 0), 9)
