from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pinhole.layout import Layout, View
from pinhole.methods.vispruner import VisPruner
from pinhole.visual import VisualTokens


def image(attention: torch.Tensor, x: torch.Tensor, layout: Layout | None = None, **more: torch.Tensor) -> VisualTokens:
    cues = {"cls_attention": attention, **more}
    return VisualTokens(x, layout or Layout.of(View(1, len(x))), torch.zeros(1), cues)


def random(n: int, seed: int) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    return image(torch.rand(n, generator=generator), torch.randn(n, 4, generator=generator, dtype=torch.float64))


def by_hand(attention: list[float], x: list[list[float]], m: int, share: float, step: int) -> list[int]:
    """Lists and loops."""

    def cosine(i: int, j: int) -> float:
        norm = (sum(v * v for v in x[i]) * sum(v * v for v in x[j])) ** 0.5
        return sum(v * w for v, w in zip(x[i], x[j], strict=True)) / norm

    ranked = sorted(range(len(x)), key=lambda i: -attention[i])
    important, rest = ranked[: int(m * share)], ranked[int(m * share) :]
    wanted = m - len(important)
    while wanted and len(rest) > wanted:
        evens, odds = rest[::2], rest[1::2]
        closest = {i: max(cosine(i, j) for j in odds) for i in evens}
        r = min(step, len(rest) - wanted, len(odds))
        rest = sorted(evens, key=lambda i: -closest[i])[r:] + odds
    return sorted(important + (rest if wanted else []))


def test_duplicates_of_less_attended_tokens_go():
    # token 4 is important. The others by attention: 2, 0, 5, 1, 3; compared are 2, 5, 3 with 0, 1. Token 3 equals 1
    # (cosine 1), 5 is close to 0 (0.98), 2 is like neither (0): one goes in each round.
    attention = torch.tensor([0.2, 0.1, 0.3, 0.05, 0.9, 0.15])
    x = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 3, 0], [1, 1, 1], [1, 0, 0.2]])
    assert VisPruner(keep=5, important=0.2, step=1).reduce(image(attention, x)).indices.tolist() == [0, 1, 2, 4, 5]
    # left are 5, 2 (most similar first), 0, 1; compared are 5 with 2 (0.20) and 1, 0 with 2 (0) and 1 (0): 5 goes
    assert VisPruner(keep=4, important=0.25, step=1).reduce(image(attention, x)).indices.tolist() == [0, 1, 2, 4]


@given(
    n=st.integers(1, 30),
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0, 0.25, 0.5, 0.75, 1]),
    step=st.sampled_from([1, 3, 8]),
    data=st.data(),
)
def test_it_equals_lists_and_loops(n, seed, share, step, data):
    m, tokens = data.draw(st.integers(1, n)), random(n, seed)
    kept = VisPruner(keep=m, important=share, step=step).reduce(tokens).indices.tolist()
    assert kept == by_hand(tokens.cues["cls_attention"].tolist(), tokens.x.tolist(), m, share, step)
    assert len(kept) == len(set(kept)) == m


@given(n=st.integers(2, 40), seed=st.integers(0, 10**6), data=st.data())
def test_where_a_token_stands_does_not_matter(n, seed, data):
    m, tokens = data.draw(st.integers(1, n)), random(n, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    kept = VisPruner(keep=m).reduce(tokens).indices
    moved = VisPruner(keep=m).reduce(tokens.take(order)).indices
    assert sorted(order[moved].tolist()) == kept.tolist()


def test_the_most_attended_are_always_kept():
    tokens = random(200, seed=0)
    kept = set(VisPruner(keep=40).reduce(tokens).indices.tolist())
    assert set(tokens.cues["cls_attention"].topk(20).indices.tolist()) <= kept
    assert VisPruner(keep=40, important=1).reduce(tokens).indices.tolist() == sorted(
        tokens.cues["cls_attention"].topk(40).indices.tolist()
    )


def test_the_count_of_important_tokens_is_exact():
    # 0.29 * 100 is 28.999999999999996 in floats
    assert VisPruner(important=0.29)._important(100) == 29
    assert VisPruner()._important(1) == 0


@pytest.mark.parametrize("m", [1, 6, 11, 12])
def test_equal_tokens_still_become_exactly_m(m):
    kept = VisPruner(keep=m).reduce(image(torch.full((13,), 0.5), torch.ones(13, 2))).indices
    assert len(kept) == m
    assert kept[: m // 2].tolist() == list(range(m // 2)), "equal attention: the first are important"


def test_separators_go():
    layout = Layout.of(View(1, 5), 1, View(1, 5), 1)
    generator = torch.Generator().manual_seed(0)
    attention, x = torch.rand(12, generator=generator), torch.randn(12, 4, generator=generator)
    attention[[5, 11]] = 0
    for m in (1, 5, 10):
        kept = VisPruner(keep=m).reduce(image(attention, x, layout)).indices.tolist()
        assert len(kept) == m
        assert not {5, 11} & set(kept)
    assert len(VisPruner(keep=11).reduce(image(attention, x, layout)).indices) == 11, "more than there are patches"


def test_attention_received_serves_where_there_is_no_class_token():
    method = VisPruner(keep=3, important=1, attention="received")
    assert method.needs == {"received_attention"}
    assert VisPruner.needs == VisPruner().needs == {"cls_attention"}
    received = torch.tensor([0.0, 3, 1, 2, 0])
    assert method.reduce(image(torch.arange(5.0), torch.randn(5, 2), received_attention=received)).indices.tolist() == [
        1,
        2,
        3,
    ]


def test_flops_count_the_similarities():
    assert VisPruner(keep=4).flops(10, 4, 8) == 2 * 8 * 8 * 8  # all pairs of the 8 that are not important
    assert VisPruner(keep=4, important=1).flops(10, 4, 8) == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attention": "mean"}, "cls or received, got 'mean'"),
        ({"important": -0.1}, r"share in \[0, 1\], got -0.1"),
        ({"step": 0}, "step is at least 1, got 0"),
    ],
)
def test_other_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        VisPruner(**setting)
