from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole.layout import Layout, View
from pinhole.methods.tome import ToMe
from pinhole.visual import VisualTokens


def image(x: torch.Tensor, keys: torch.Tensor | None = None, layout: Layout | None = None) -> VisualTokens:
    cues = {} if keys is None else {"encoder_keys": keys}
    return VisualTokens(x, layout or Layout.of(View(1, len(x))), torch.zeros(1), cues)


def random(n: int, seed: int, heads: int = 2, width: int = 3) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(n, heads, width, generator=generator, dtype=torch.float64)
    return image(torch.randn(n, 5, generator=generator, dtype=torch.float64), keys)


def cosine(a: list[float], b: list[float]) -> float:
    norm = (sum(v * v for v in a) * sum(v * v for v in b)) ** 0.5
    return sum(v * w for v, w in zip(a, b, strict=True)) / norm


def by_hand(metric: list[list[float]], m: int, r: int | None) -> list[list[int]]:
    """The groups of tokens that are merged, in the order of their first tokens: lists, loops and means."""
    groups = [[i] for i in range(len(metric))]
    while len(groups) > m:
        means = [[sum(metric[i][d] for i in g) / len(g) for d in range(len(metric[0]))] for g in groups]
        evens, odds = range(0, len(groups), 2), range(1, len(groups), 2)
        edges = []
        for a in evens:
            best = max(odds, key=lambda b, a=a: cosine(means[a], means[b]))
            edges.append((cosine(means[a], means[best]), a, best))
        merging = min(len(groups) - m, len(groups) // 2, r or len(groups))
        chosen = sorted(edges, key=lambda edge: -edge[0])[:merging]
        for _, a, b in chosen:
            groups[b] = groups[b] + groups[a]
        gone = {a for _, a, _ in chosen}
        groups = [groups[a] for a in evens if a not in gone] + [groups[b] for b in odds]
    return sorted((sorted(group) for group in groups), key=lambda group: group[0])


def groups_of(weights: torch.Tensor) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in weights]


# token 2 points as token 1 does; token 0 is close to token 3: cosine 3 / sqrt(10); between the pairs it is at most 0.32
FOUR = torch.tensor([[1.0, 0], [0, 1], [0, 2], [3, 1]])


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (3, [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]),
        (2, [[0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0]]),
        (1, [[0.25, 0.25, 0.25, 0.25]]),
    ],
)
def test_the_best_edges_merge_first(m, expected):
    tokens = image(FOUR)
    reduction = ToMe(keep=m, metric="x").reduce(tokens)
    assert reduction.matrix().tolist() == expected
    torch.testing.assert_close(reduction.apply(FOUR), torch.tensor(expected) @ FOUR)


def test_a_later_round_compares_means_and_weighs_by_size():
    # one edge a round. First 2 -> 1 (cosine 1): tokens are then 0, 4 (unmerged) and {1, 2}, 3, with mean (0, 1.5).
    # Now 0 and {1, 2} are at even places, 4 and 3 at odd ones: {1, 2} draws to 4 with 0.98, 0 to 3 with 0.95.
    x = torch.cat([FOUR, torch.tensor([[0.2, 1]])])
    weights = ToMe(keep=3, metric="x", r=1).reduce(image(x)).matrix()
    third = pytest.approx(1 / 3)
    assert weights.tolist() == [[1, 0, 0, 0, 0], [0, third, third, 0, third], [0, 0, 0, 1, 0]]


def test_keys_are_averaged_over_heads_and_decide_for_the_features():
    keys = torch.stack([FOUR + 7, FOUR - 7], 1)  # heads whose mean is FOUR
    tokens = image(torch.randn(4, 6), keys)
    assert groups_of(ToMe(keep=2).reduce(tokens).matrix()) == [[0, 3], [1, 2]]


@given(n=st.integers(1, 24), seed=st.integers(0, 10**6), r=st.sampled_from([None, 1, 3]), data=st.data())
def test_rounds_equal_lists_and_loops(n, seed, r, data):
    m, tokens = data.draw(st.integers(1, n)), random(n, seed)
    weights = ToMe(keep=m, r=r).reduce(tokens).matrix()
    metric = tokens.cues["encoder_keys"].mean(1)
    assert groups_of(weights) == by_hand(metric.tolist(), m, r)
    assert weights.shape == (m, n)
    assert ((weights > 0).sum(0) == 1).all(), "every token goes into one"
    torch.testing.assert_close(weights.sum(1), torch.ones(m, dtype=weights.dtype))
    sizes = (weights > 0).sum(1)
    assert torch.equal(weights.amax(1), 1 / sizes), "members count alike"


@given(n=st.integers(2, 20), m=st.integers(1, 20))
def test_equal_tokens_still_become_exactly_m(n, m):
    weights = ToMe(keep=min(m, n), metric="x").reduce(image(torch.ones(n, 3))).matrix()
    assert weights.shape == (min(m, n), n)
    assert ((weights > 0).sum(0) == 1).all()


def test_more_than_half_precision_can_count_is_averaged_exactly():
    n = 601  # bfloat16 has no 601, nor half precision more than 2048 of anything
    weights = ToMe(keep=1, metric="x").reduce(image(torch.ones(n, 2, dtype=torch.bfloat16))).matrix()
    torch.testing.assert_close(weights, torch.full((1, n), 1 / n))


def test_separators_have_no_keys_and_go():
    layout = Layout.of(View(1, 4), 1, View(1, 4), 1)
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(10, 2, 3, generator=generator)
    keys[[4, 9]] = 0
    tokens = image(torch.randn(10, 5, generator=generator), keys, layout)
    weights = ToMe(keep=3).reduce(tokens).matrix()
    assert (weights[:, [4, 9]] == 0).all()
    patches = tokens.take(torch.tensor([0, 1, 2, 3, 5, 6, 7, 8]))
    assert torch.equal(weights[:, [0, 1, 2, 3, 5, 6, 7, 8]], ToMe(keep=3).reduce(patches).matrix())
    assert ToMe(keep=9).reduce(tokens).matrix().sum(1).tolist() == pytest.approx([1] * 9), "more than there are patches"


@pytest.mark.parametrize("metric", ["keys", "x"])
def test_nothing_waits_for_the_device(metric):
    cues = {"encoder_keys": torch.empty(20, 2, 3, device="meta")}  # looking at a value of it is an error
    tokens = VisualTokens(torch.empty(20, 5, device="meta"), Layout.of(View(1, 20)), torch.zeros(1), cues)
    assert ToMe(keep=3, metric=metric).reduce(tokens).matrix().shape == (3, 20)


def test_what_it_needs_follows_from_the_metric():
    assert ToMe.needs == ToMe().needs == {"encoder_keys"}
    assert ToMe(metric="x").needs == frozenset()


def test_flops_count_similarities_sums_and_mixing():
    # 5 tokens to 2, 8 wide: 3 x 2 similarities and 5 sums, then 2 x 1 and 3, then P X
    assert ToMe(keep=2).flops(5, 2, 8) == 2 * 8 * (6 + 5 + 2 + 3 + 5)


@pytest.mark.parametrize(
    ("setting", "message"), [({"metric": "q"}, "keys or x, got 'q'"), ({"r": 0}, "at least 1, or None .* got 0")]
)
def test_other_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        ToMe(**setting)
