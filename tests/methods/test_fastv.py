from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layer_tokens import generator, layer_tokens
from pinhole.budget import kept_tokens
from pinhole.methods.fastv import FastV


def test_the_tokens_stay_that_the_last_token_attends_to_most():
    attention = torch.tensor([[0.9, 0.1, 0.1, 0.1, 0.1], [0.1, 0.3, 0.05, 0.2, 0.25]])
    reduction = FastV(keep=3).reduce(layer_tokens(torch.zeros(5, 4), attention=attention))
    assert reduction.indices.tolist() == [1, 3, 4], "by the last row, in the order of the image"


def test_where_the_image_ends_the_prompt_its_own_last_token_decides():
    words = torch.tensor([[9.0, 0, 0], [9.0, 0, 0]])
    own = torch.tensor([[1.0, 0, 0], [0.7, 0.3, 0], [0.2, 0.5, 0.3]])
    tokens = layer_tokens(torch.zeros(3, 4), behind=[False, False], attention=torch.cat([words, own]))
    assert FastV(keep=2).reduce(tokens).indices.tolist() == [1, 2]


@given(n=st.integers(2, 80), share=st.floats(0.01, 1), seed=st.integers(0, 99))
def test_the_count_is_known_before_and_none_that_left_was_attended_to_more(n, share, seed):
    attention = torch.rand(3, n, generator=generator(seed))
    method = FastV(keep=share)
    tokens = layer_tokens(torch.zeros(n, 2), text=torch.zeros(3, 2), attention=attention)
    kept = method.reduce(tokens).indices.tolist()
    assert len(kept) == method.count(0, n) == kept_tokens(n, share)
    assert kept == sorted(set(kept))
    left = [i for i in range(n) if i not in kept]
    assert not left or attention[-1, kept].min() >= attention[-1, left].max()


def test_tokens_leave_in_front_of_layer_k_counted_from_zero():
    assert FastV().cuts(32) == (2,)
    budget = FastV(layer=3, keep=0.25).budget(576, 576, 32)
    assert budget.per_layer == (576,) * 3 + (144,) * 29
    assert FastV().budget(576, 576, 32).average == (2 * 576 + 30 * 288) / 32 == 306


def test_behind_a_method_at_the_input_the_share_is_of_what_the_llm_reads():
    budget = FastV(layer=1).budget(before=576, entering=64, layers=4)
    assert (budget.before, budget.per_layer) == (576, (64, 32, 32, 32))


def test_positions_stay_as_they_were_unless_the_user_wants_others():
    assert FastV().settings() == {"positions": "original", "layer": 2, "keep": 0.5}
    assert FastV(positions="compact").positions == "compact"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": 0}, "fastv drops tokens in front of layers 0: give rising numbers from 1 on"),
        ({"layer": 2.0}, "fastv drops tokens in front of layers 2.0"),
        ({"keep": 0.0}, "keep as a share"),
        ({"positions": "new"}, "positions is original or compact, got 'new'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FastV(**settings)


def test_a_layer_that_the_llm_lacks_is_refused():
    with pytest.raises(ValueError, match="this LLM has layers 0 to 3: give rising numbers from 1 to 3"):
        FastV(layer=4).cuts(4)
