from __future__ import annotations

import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layer_tokens import layer_tokens
from pinhole.budget import Budget, LLMShape, kept_tokens
from pinhole.methods.adsc import ADSC

LLAVA = LLMShape(
    layers=32, width=4096, heads=32, kv_heads=32, head_width=128, mlp_width=11008, vocabulary=32064, bytes_per_value=2
)


def kept(method: ADSC, n: int, cut: int, before: int) -> list[int]:
    return method.reduce(layer_tokens(torch.zeros(n, 2), before=before, cut=cut)).indices.tolist()


def test_equidistant_tokens_stay_and_nothing_was_looked_at():
    method = ADSC(schedule=((1, 0.5), (2, 0.25), (3, 0.1)))
    assert kept(method, 10, 0, 10) == [1, 3, 5, 7, 9]
    assert kept(method, 5, 1, 10) == [0, 2, 4], "2.5 of 10 round to 3; thirds of 5 have their middles at 0.8, 2.5, 4.2"
    assert kept(method, 3, 2, 10) == [1]


@given(n=st.integers(1, 700), share=st.floats(0.01, 1))
def test_gaps_are_even_and_both_ends_alike(n, share):
    places = kept(ADSC(schedule={1: share}), n, 0, n)
    m = kept_tokens(n, share)
    assert len(places) == m == ADSC(schedule={1: share}).count(0, n)
    assert places[0] >= 0
    assert places[-1] < n
    gaps = {b - a for a, b in itertools.pairwise(places)}
    assert gaps <= {n // m, -(-n // m)}
    assert abs(places[0] - (n - 1 - places[-1])) <= 1


def test_the_default_leaves_a_third_on_average():
    method = ADSC()
    assert method.cuts(32) == (2, 7)
    budget = method.budget(576, 576, 32)
    assert budget.per_layer == (576,) * 2 + (288,) * 5 + (144,) * 25
    assert budget.average / 576 == pytest.approx(1 / 3, abs=0.003)


def test_the_default_saves_what_the_paper_reports_at_least():
    short, full = ADSC().budget(576, 576, 32), Budget.constant(576, 576, 32)
    flops = 1 - short.prefill_flops(LLAVA, text=64) / full.prefill_flops(LLAVA, text=64)
    kv = 1 - short.kv_bytes(LLAVA, text=64) / full.kv_bytes(LLAVA, text=64)
    assert flops > 0.537
    assert kv > 0.567
    assert (flops, kv) == pytest.approx((0.603, 0.598), abs=5e-4), "as the docstring says"


@pytest.mark.parametrize(("layers", "cuts"), [(28, (1, 6)), (40, (2, 8)), (64, (4, 14)), (4, (1, 2)), (3, (1, 2))])
def test_the_default_is_at_the_same_shares_of_any_depth(layers, cuts):
    assert ADSC().cuts(layers) == cuts


def test_an_llm_of_two_layers_is_too_shallow_for_the_default():
    with pytest.raises(ValueError, match="in front of layers 1, 2, this LLM has layers 0 to 1"):
        ADSC().cuts(2)


def test_a_schedule_is_a_dict_or_pairs_and_json():
    method = ADSC(schedule={8: 0.5, 16: 0.25})
    assert method.schedule == ((8, 0.5), (16, 0.25))
    told = json.loads(json.dumps(method.settings()))
    assert told == {"positions": "original", "schedule": [[8, 0.5], [16, 0.25]], "adapter": None}
    assert {ADSC(**told)} == {method}


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({}, "adsc's schedule has layers and the shares"),
        ({2: 0.25, 7: 0.5}, "none larger than the one before"),
        ({2: 0.5, 7: 0.0}, "shares in"),
        ({2: 1.5}, "shares in"),
        ({2: 144}, "shares in"),
        ("2:0.5", "got '2:0.5'"),
        (2, "got 2"),
        ((2, 0.5), r"got \(2, 0.5\)"),
        ({7: 0.5, 2: 0.25}, "adsc drops tokens in front of layers 7, 2: give rising numbers"),
        ({0: 0.5}, "layers 0: give rising numbers from 1 on"),
    ],
)
def test_schedules_that_cannot_be_are_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        ADSC(schedule=schedule)
