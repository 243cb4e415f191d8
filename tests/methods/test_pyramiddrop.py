from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layer_tokens import generator, layer_tokens
from pinhole.methods.pyramiddrop import PyramidDrop


def test_the_layer_ahead_is_asked_and_its_last_row_decides():
    ahead = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.15, 0.35]])
    reduction = PyramidDrop().reduce(layer_tokens(torch.zeros(4, 2), ahead=ahead))
    assert reduction.indices.tolist() == [1, 3]


def test_llava_keeps_half_a_quarter_and_an_eighth():
    method = PyramidDrop()
    assert method.cuts(32) == (8, 16, 24)
    assert [method.count(cut, 576) for cut in range(3)] == [288, 144, 72]
    budget = method.budget(576, 576, 32)
    assert budget.per_layer == (576,) * 8 + (288,) * 8 + (144,) * 8 + (72,) * 8
    assert budget.average == (576 + 288 + 144 + 72) / 4 == 270


@pytest.mark.parametrize(
    ("layers", "cuts"), [(28, (7, 14, 21)), (40, (10, 20, 30)), (30, (7, 15, 22)), (4, (1, 2, 3)), (5, (1, 2, 3))]
)
def test_the_stages_are_quarters_of_any_depth(layers, cuts):
    assert PyramidDrop().cuts(layers) == cuts


def test_an_llm_without_four_layers_is_refused():
    with pytest.raises(ValueError, match="in front of layers 1, 2, 3, this LLM has layers 0 to 2"):
        PyramidDrop().cuts(3)


@given(n=st.integers(1, 3000), ratio=st.integers(1, 99), stage=st.integers(0, 4))
def test_counts_round_exactly(n, ratio, stage):
    exact = n * (Decimal(ratio) / 100) ** (stage + 1)
    rounded = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert PyramidDrop(ratio=ratio / 100).count(stage, n) == max(1, rounded)


def test_halves_round_up_and_one_token_always_stays():
    assert [PyramidDrop().count(cut, 5) for cut in range(3)] == [3, 1, 1], "2.5, 1.25 and 0.625"


@given(n=st.integers(8, 60), seed=st.integers(0, 99))
def test_stage_by_stage_the_best_of_the_best_stay(n, seed):
    method = PyramidDrop()
    score = torch.rand(n, generator=generator(seed))
    alive = torch.arange(n)
    for cut in range(3):
        tokens = layer_tokens(torch.zeros(len(alive), 2), ahead=score[alive].expand(2, -1), before=n, cut=cut)
        alive = alive[method.reduce(tokens).indices]
    best = sorted(range(n), key=lambda i: -score[i])[: method.count(2, n)]
    assert alive.tolist() == sorted(best)


def test_settings_are_json_and_build_it_again():
    method = PyramidDrop(layers=(2, 4, 6), ratio=0.25)
    told = json.loads(json.dumps(method.settings()))
    assert told == {"positions": "compact", "layers": [2, 4, 6], "ratio": 0.25}
    assert PyramidDrop(**told) == method
    assert {PyramidDrop(**told), method} == {method}
    assert method.cuts(8) == (2, 4, 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": (4, 2)}, "pyramiddrop drops tokens in front of layers 4, 2: give rising numbers from 1 on"),
        ({"layers": (2, 2)}, "layers 2, 2"),
        ({"layers": ()}, r"layers \(\): give rising"),
        ({"layers": 3}, "layers 3: give rising"),
        ({"layers": "(1,2"}, "layers '\\(1,2'"),
        ({"ratio": 1.5}, r"ratio is a share in \(0, 1\], got 1.5"),
        ({"ratio": 1}, r"ratio is a share in \(0, 1\], got 1"),
        ({"ratio": 0.0}, r"ratio is a share in \(0, 1\], got 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PyramidDrop(**settings)
