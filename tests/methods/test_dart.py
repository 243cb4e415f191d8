from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layer_tokens import generator, layer_tokens
from pinhole.methods.dart import DART


def shown(n: int, seed: int, text: int = 6, behind: list[bool] | None = None):
    """Random tokens, behind a norm that changes angles."""
    g = generator(seed)
    return layer_tokens(
        torch.randn(n, 8, generator=g),
        text=torch.randn(text, 8, generator=g),
        behind=behind,
        keys=torch.randn(n + text, 2, 4, generator=g),
        norm=lambda x: x * torch.arange(1.0, 9.0),
    )


def by_hand(tokens, m: int, visual_pivots: int = 4, text_pivots: int = 4) -> list[int]:
    """Token by token, with Python's own numbers."""

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    n = len(tokens.hidden)
    norms = [sum(abs(value) for head in key for value in head) for key in tokens.keys().tolist()]
    states = tokens.norm(torch.cat([tokens.hidden, tokens.text])).tolist()
    visual = sorted(range(n), key=lambda i: -norms[i])[: min(visual_pivots, m)]
    words = [n + i for i, is_behind in enumerate(tokens.behind.tolist()) if is_behind]
    pivots = visual + sorted(words, key=lambda i: -norms[i])[:text_pivots]
    kept, left = list(visual), m - len(visual)
    for number, pivot in enumerate(pivots):
        free = [i for i in range(n) if i not in kept]
        share = left // len(pivots) + (1 if number < left % len(pivots) else 0)
        kept += sorted(free, key=lambda i: cosine(states[i], states[pivot]))[:share]
    return sorted(kept)


@given(
    n=st.integers(2, 40),
    keep=st.floats(0.02, 1),
    visual=st.integers(1, 6),
    text=st.integers(0, 6),
    behind=st.lists(st.booleans(), min_size=6, max_size=6),
    seed=st.integers(0, 999),
)
def test_it_equals_the_plain_loop_and_keeps_exactly_m(n, keep, visual, text, behind, seed):
    method = DART(keep=keep, visual_pivots=visual, text_pivots=text)
    tokens = shown(n, seed, behind=behind)
    kept = method.reduce(tokens).indices.tolist()
    assert len(kept) == len(set(kept)) == method.count(0, n)
    assert kept == by_hand(tokens, method.count(0, n), visual, text)


def test_pivots_have_the_largest_l1_norm_over_all_heads():
    keys = torch.zeros(5, 2, 2)
    keys[0, 0, 0] = 3  # L1 3, L2 3
    keys[1] = 1  # L1 4, L2 2
    keys[2] = -1  # as large
    hidden = torch.eye(3, 4)
    tokens = layer_tokens(hidden, keys=keys, norm=lambda x: x)
    assert DART(keep=2, visual_pivots=2).reduce(tokens).indices.tolist() == [1, 2]


def test_every_pivot_in_turn_takes_what_resembles_it_least():
    # angles on a circle; the pivot is at 0 degrees, the text pivot at 180
    angles = torch.tensor([0.0, 10, 90, 170, 190, 100, 20]) * math.pi / 180
    hidden = torch.stack([angles.cos(), angles.sin()], -1)
    keys = torch.zeros(9, 1, 2)
    keys[0], keys[8] = 5, 4
    text = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    tokens = layer_tokens(hidden, text=text, keys=keys, norm=lambda x: x)
    one_each = DART(keep=3, visual_pivots=1, text_pivots=1).reduce(tokens).indices.tolist()
    assert one_each == [0, 1, 3], "the pivot, 170 (the first of two that are as far from 0), 10 (the farthest from 180)"
    more_to_the_first = DART(keep=4, visual_pivots=1, text_pivots=1).reduce(tokens).indices.tolist()
    assert more_to_the_first == [0, 1, 3, 4]


def test_text_in_front_of_the_image_is_no_pivot():
    tokens = shown(20, 3, behind=[True, False, False, False, False, True])
    swapped = shown(20, 3, behind=[True, False, False, False, False, True])
    swapped.text[1:5] += 100
    swapped.keys()[21:25] += 100
    method = DART(keep=0.5)
    assert torch.equal(method.reduce(tokens).indices, method.reduce(swapped).indices)


def test_few_tokens_are_the_first_pivots():
    tokens = shown(20, 1)
    order = tokens.keys()[:20].flatten(1).abs().sum(-1).argsort(descending=True)
    for m in (1, 2, 4):
        assert DART(keep=m).reduce(tokens).indices.tolist() == sorted(order[:m].tolist())


def test_the_default_keeps_128_of_576_behind_two_layers():
    method = DART()
    assert method.cuts(32) == (2,)
    assert method.budget(576, 576, 32).per_layer == (576,) * 2 + (128,) * 30
    assert method.settings() == {
        "positions": "original",
        "layer": 2,
        "keep": 0.222,
        "visual_pivots": 4,
        "text_pivots": 4,
    }


def test_half_precision_is_compared_in_full():
    tokens = shown(40, 5)
    half = layer_tokens(
        tokens.hidden.bfloat16(), text=tokens.text.bfloat16(), keys=tokens.keys().bfloat16(), norm=lambda x: x
    )
    again = layer_tokens(half.hidden.float(), text=half.text.float(), keys=half.keys().float(), norm=lambda x: x)
    assert torch.equal(DART(keep=0.5).reduce(half).indices, DART(keep=0.5).reduce(again).indices)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 0}, "dart drops tokens in front of layers 0"),
        ({"keep": 2.0}, "keep as a share"),
        ({"visual_pivots": 0}, "visual_pivots is a whole number from 1 on, got 0"),
        ({"text_pivots": -1}, "text_pivots is a whole number from 0 on, got -1"),
        ({"text_pivots": 0.5}, "text_pivots is a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DART(**settings)
