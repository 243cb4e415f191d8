from __future__ import annotations

import pytest
import torch

from layer_tokens import layer_tokens
from pinhole.methods.vtw import VTW


def test_nothing_remains_and_nothing_was_looked_at():
    reduction = VTW().reduce(layer_tokens(torch.ones(5, 4)))
    assert (reduction.n, reduction.m) == (5, 0) == (5, VTW().count(0, 5))
    assert reduction.apply(torch.ones(5, 4)).shape == (0, 4)


@pytest.mark.parametrize(("layers", "cut"), [(32, 16), (28, 14), (3, 1), (2, 1)])
def test_the_default_is_half_of_the_depth(layers, cut):
    assert VTW().cuts(layers) == (cut,)
    budget = VTW().budget(576, 576, layers)
    assert budget.per_layer == (576,) * cut + (0,) * (layers - cut)


def test_a_layer_that_was_searched_is_a_setting():
    assert VTW(layer=15).cuts(32) == (15,)
    assert VTW(layer=15).budget(576, 64, 32).average == 15 * 64 / 32
    assert VTW(layer=15).settings() == {"positions": "original", "layer": 15}


@pytest.mark.parametrize("layer", [0, -1, 1.5, "5"])
def test_a_layer_that_cannot_be_is_refused(layer):
    with pytest.raises(ValueError, match="vtw drops tokens in front of layers"):
        VTW(layer=layer)


@pytest.mark.parametrize(("layer", "layers"), [(32, 32), (None, 1)])
def test_a_layer_that_the_llm_lacks_is_refused(layer, layers):
    with pytest.raises(ValueError, match="this LLM has layers"):
        VTW(layer=layer).cuts(layers)
