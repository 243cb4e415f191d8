"""Settings under which methods inside the LLM cost what a method at its input costs."""

from __future__ import annotations

import itertools

import pytest

from pinhole.layer_method import LayerMethod
from pinhole.matching import average_share, matched
from pinhole.registry import method_class, method_names

INSIDE = [name for name in method_names() if issubclass(method_class(name), LayerMethod)]


def test_fastv_by_hand():
    """2 of 32 layers read all tokens: (2 + 30 k) / 32 = 1/4 gives k = 1/5; of 100,000 tokens that is exact."""
    method = matched(method_class("fastv")(layer=2), 0.25, 32)
    assert (method.layer, method.keep) == (2, 0.2)
    assert method.budget(576, 576, 32).per_layer == (576, 576, *[115] * 30)
    assert method.budget(576, 576, 32).average == pytest.approx(0.25 * 576, abs=1)


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("layers", [8, 32])
@pytest.mark.parametrize("name", INSIDE)
def test_the_average_is_as_near_as_settings_get_and_not_above(name, layers, keep):
    method = method_class(name)()
    cheapest = average_share(method.at(1e-4, layers), layers)
    if cheapest > keep:
        with pytest.raises(ValueError, match=r"an average of .* % needs cuts in earlier layers"):
            matched(method, keep, layers)
        return
    found = matched(method, keep, layers)
    reached = average_share(found, layers)
    most = average_share(method.at(1.0, layers), layers)
    step = 1 / layers if name == "vtw" else 2e-3
    assert reached <= keep
    assert reached > min(keep, most) - step


@pytest.mark.parametrize("name", INSIDE)
def test_a_larger_share_keeps_at_least_as_many_in_every_layer(name):
    method = method_class(name)()
    budgets = [method.at(share, 16).budget(576, 576, 16).per_layer for share in (0.1, 0.3, 0.6, 1.0)]
    for harsher, milder in itertools.pairwise(budgets):
        assert all(a <= b for a, b in zip(harsher, milder, strict=True))


def test_what_a_method_at_the_input_left_out_counts():
    """Half enters: of 4 layers 1 reads half, 3 read k of it; 0.5 (1 + 3 k) / 4 = 0.2 gives k = 1/5."""
    assert matched(method_class("fastv")(layer=1), 0.2, 4, entering=0.5).keep == 0.2
    with pytest.raises(ValueError, match=r"leaves 12\.5 % .* an average of 10\.0 %"):
        matched(method_class("fastv")(layer=1), 0.1, 4, entering=0.5)


def test_more_than_enters_is_everything_that_enters():
    assert matched(method_class("fastv")(layer=1), 0.5, 4, entering=0.25).keep == 1.0


def test_a_count_is_no_average():
    with pytest.raises(ValueError, match="got keep=64"):
        matched(method_class("fastv")(), 64, 32)
    with pytest.raises(ValueError, match="and 64 at the input"):
        matched(method_class("fastv")(), 0.1, 32, entering=64)
