from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

import tiny
from pinhole import Budget, LLMShape, kept_tokens
from pinhole.families import family_of

shares = st.floats(min_value=0, max_value=1, exclude_min=True)


@given(n=st.integers(1, 10**6), keep=shares)
def test_a_share_keeps_the_nearest_count_and_rounds_halves_up(n, keep):
    m = kept_tokens(n, keep)
    exact = n * Fraction(Decimal(repr(keep)))
    assert 1 <= m <= n
    assert m == 1 or Fraction(-1, 2) <= m - exact <= Fraction(1, 2)
    assert m - exact != Fraction(-1, 2), "halves round up"


@given(n=st.integers(1, 10**4), percent=st.integers(1, 100))
def test_a_share_in_percent_is_exact(n, percent):
    assert kept_tokens(n, percent / 100) == max(1, (2 * n * percent + 100) // 200)


@given(n=st.integers(1, 10**4), one=shares, other=shares)
def test_a_larger_share_never_keeps_fewer(n, one, other):
    low, high = sorted((one, other))
    assert kept_tokens(n, low) <= kept_tokens(n, high)


@pytest.mark.parametrize(
    ("n", "keep", "m"),
    [(576, 0.1, 58), (144, 0.1, 14), (5, 0.1, 1), (15, 0.1, 2), (25, 0.7, 18), (10, 1.0, 10), (1, 1e-9, 1), (9, 9, 9)],
)
def test_known_counts(n, keep, m):
    assert kept_tokens(n, keep) == m


def test_a_share_from_numpy_is_a_share():
    assert kept_tokens(144, np.float64(0.1)) == 14


def test_a_count_above_the_tokens_there_are_is_refused():
    with pytest.raises(ValueError, match="cannot keep 11 of 10 visual tokens: give a count of at most 10, or a share"):
        kept_tokens(10, 11)


@pytest.mark.parametrize("keep", [0, -3, 0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_keep_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match="keep as a"):
        kept_tokens(10, keep)


def test_a_count_written_as_a_float_gets_a_hint():
    with pytest.raises(ValueError, match="for 64 tokens write keep=64"):
        kept_tokens(576, 64.0)


@pytest.mark.parametrize("keep", [True, "0.1", None, Fraction(1, 10)])
def test_a_keep_of_another_type_is_refused(keep):
    with pytest.raises(TypeError, match="keep is a share"):
        kept_tokens(10, keep)


def test_the_average_is_over_layers():
    assert Budget(100, (100, 100, 10, 10)).average == 55
    assert Budget.constant(100, 10, 4) == Budget(100, (10, 10, 10, 10))


def test_prefill_flops_of_a_model_small_enough_to_count_by_hand():
    shape = LLMShape(
        layers=2, width=4, heads=2, kv_heads=1, head_width=2, mlp_width=8, vocabulary=10, bytes_per_value=2
    )
    # one token: q 4x4, k and v 4x2 each, o 4x4, three MLP matrices 4x8: 144 multiply-adds; 7 and 5 tokens in the layers
    linear = 2 * 144 * (7 + 5)
    # QK^T and PV, 4 wide, over all heads: queries times keys, 3 tokens already cached
    attention = 2 * 2 * 4 * (7 * 10 + 5 * 8)
    assert Budget(9, (5, 3)).prefill_flops(shape, text=2, past=3) == linear + attention + 2 * 4 * 10


@pytest.fixture(scope="module")
def model():
    model = tiny.llava(dtype=torch.float32)
    model.set_attn_implementation("eager")  # FlopCounterMode does not see the CPU's fused attention kernel
    return model


@pytest.mark.parametrize("past", [0, 9])
def test_prefill_flops_agree_with_a_measured_prefill(model, past):
    visual, text = 12, 20
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    with torch.no_grad():
        if past:
            model(**tiny.words(past, seed=0), past_key_values=cache)
        turn = tiny.words(visual + text, seed=1)["input_ids"]
        with FlopCounterMode(display=False) as counter:
            model(input_ids=turn, past_key_values=cache, logits_to_keep=1)
    expected = Budget.constant(36, visual, layers=3).prefill_flops(family_of(model).shape, text, past)
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kv_bytes_are_those_a_cache_holds(dtype):
    model = tiny.llava(dtype=dtype)
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    with torch.no_grad():
        model(**tiny.words(19, seed=0), past_key_values=cache)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert Budget.constant(36, 7, layers=3).kv_bytes(family_of(model).shape, text=12) == held


def test_repr_is_short_and_tells_runs_of_layers():
    assert repr(Budget.constant(576, 58, 32)) == "Budget(576 -> 58 x32 visual tokens, 10.1 % on average over 32 layers)"
    pruned = Budget(576, (576,) * 2 + (58,) * 30)
    assert repr(pruned) == "Budget(576 -> 576 x2, 58 x30 visual tokens, 15.7 % on average over 32 layers)"


def test_tables_for_notebooks_and_terminals_say_the_same():
    budget = Budget(100, (100, 50, 50, 0))
    lines = [
        ("layer 0", "100", "100.0 %"),
        ("layers 1 to 2", "50", "50.0 %"),
        ("layer 3", "0", "0.0 %"),
        ("mean over layers", "50.0", "50.0 %"),
        ("their KV cache", "", "50.0 %"),
        ("their FLOPs in linear layers", "", "50.0 %"),
        ("their FLOPs in attention to each other", "", "37.5 %"),  # (1 + 1/4 + 1/4 + 0) / 4
    ]
    rows = re.findall(r"<tr>(<td.*?)</tr>", budget._repr_html_())
    assert [tuple(re.findall(r"<td[^>]*>(.*?)</td>", row)) for row in rows] == lines
    table = budget.__rich__()
    assert [*zip(*(column.cells for column in table.columns), strict=True)] == lines


def test_the_shares_of_a_table_are_those_of_the_costs():
    shape = LLMShape(layers=4, width=1, heads=1, kv_heads=1, head_width=1, mlp_width=0, vocabulary=0, bytes_per_value=2)
    budget, full = Budget(100, (100, 50, 50, 0)), Budget.constant(100, 100, 4)
    assert budget.kv_bytes(shape, text=0) / full.kv_bytes(shape, text=0) == 0.5
    linear = 2 * 4  # FLOPs of a token in a layer; the rest is attention to each other
    attention = [b.prefill_flops(shape, text=0) - linear * sum(b.per_layer) for b in (budget, full)]
    assert attention[0] / attention[1] == 0.375
