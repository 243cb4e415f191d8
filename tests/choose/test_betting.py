"""The evidence: fair or worse for the gambler where the hypothesis is true, and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinhole.choose.betting import STAKES, at_most, fewest_dialogues, less_than, more_than

BOUNDS = st.floats(0.01, 0.9)


def outcomes(draw):
    """Up to four kinds of dialogues: (turns lost, turns asked), and the probability of each."""
    kinds = draw(st.lists(st.integers(1, 4).flatmap(_kind), min_size=1, max_size=4))
    weights = np.array(draw(st.lists(st.floats(0.05, 1), min_size=len(kinds), max_size=len(kinds))))
    return np.array(kinds, float), weights / weights.sum()


def _kind(asked):
    return st.tuples(st.integers(-asked, asked), st.just(asked))


def expected(evidence, bound, kinds, weights):
    """The mean capital after one dialogue."""
    capitals = [math.exp(evidence(bound, np.array([lost]), np.array([asked]), 4)) for lost, asked in kinds]
    return float(np.dot(weights, capitals))


@given(st.data(), BOUNDS)
def test_no_capital_is_made_of_a_true_hypothesis(data, bound):
    """The loss is at least the bound, or at most: one of them is so."""
    kinds, weights = outcomes(data.draw)
    excess = (weights * (kinds[:, 0] - bound * kinds[:, 1])).sum()
    evidence = less_than if excess >= 0 else more_than
    assert expected(evidence, bound, kinds, weights) <= 1 + 1e-9


@pytest.mark.parametrize(("loss", "right", "wrong"), [(0.02, less_than, more_than), (0.25, more_than, less_than)])
def test_who_bets_on_what_is_true_gets_rich_and_who_bets_against_it_poor(loss, right, wrong):
    rng = np.random.default_rng(0)
    lost = rng.binomial(3, loss + 0.02, 1000) - rng.binomial(3, 0.02, 1000)
    asked = np.full(1000, 3)
    assert right(0.1, lost, asked, 3) > math.log(10_000)
    assert wrong(0.1, lost, asked, 3) < 0


def test_capital_by_hand():
    """Two dialogues of two turns, nothing lost and one turn lost, at a bound of a half."""
    gains = np.array([(0.5 * 2 - 0) / (2 * 0.5), (0.5 * 2 - 1) / (2 * 0.5)])
    assert gains.tolist() == [1.0, 0.0]
    capital = np.mean([(1 + stake) * 1 for stake in STAKES])
    assert less_than(0.5, np.array([0, 1]), np.array([2, 2]), 2) == pytest.approx(math.log(capital))


def test_everything_lost_ruins_no_gambler_for_good():
    lost, asked = np.array([1.0] + [0.0] * 2000), np.ones(2001)
    assert math.isfinite(less_than(0.05, lost, asked, 1))
    assert less_than(0.05, lost, asked, 1) > math.log(1000)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.floats(0.001, 0.2))
def test_the_least_bound_is_where_the_evidence_is_enough(lost, level):
    lost, asked = np.array(lost, float), np.full(len(lost), 3.0)
    bound = at_most(level, lost, asked, 3)
    assert lost.sum() / asked.sum() <= bound <= 1
    if bound < 0.999:
        assert less_than(bound + 1e-6, lost, asked, 3) >= -math.log(level)
    assert less_than(bound - 1e-6, lost, asked, 3) < -math.log(level)


@pytest.mark.parametrize(("bound", "level"), [(0.01, 0.05), (0.05, 0.05 / 40), (0.2, 0.01)])
def test_so_many_dialogues_are_enough_and_one_less_is_not(bound, level):
    needed = fewest_dialogues(bound, level)
    evidence = [less_than(bound, np.zeros(n), np.full(n, 3.0), 3) for n in (needed - 1, needed)]
    assert evidence[0] < -math.log(level) <= evidence[1]
    assert needed >= math.log(1 / level) / -math.log1p(-bound)  # where every gambler stakes all: the rule of three
