"""The tests of differences: against brute force over all exchanges, each other, and numbers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinhole.evaluation import statistics
from pinhole.evaluation.statistics import holm, mcnemar, mean_interval, recovery_interval, sign_flip


def exchanged(gained):
    """The p value by going through all ways to exchange the methods."""
    ways = itertools.product([1, -1], repeat=len(gained))
    return np.mean([abs(np.dot(way, gained)) >= abs(sum(gained)) - 1e-9 for way in ways])


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_sign_flip_counts_every_exchange(gained):
    assert sign_flip(np.array(gained)) == pytest.approx(exchanged(gained), abs=1e-12)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=8))
def test_sign_flip_of_scores_that_give_tenths(tenths):
    assert sign_flip(np.array(tenths) / 10) == pytest.approx(exchanged(tenths), abs=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_with_one_turn_a_dialogue_both_tests_are_mcnemars(gained, lost):
    changes = np.array([1] * gained + [-1] * lost + [0] * 5)
    assert sign_flip(changes) == pytest.approx(mcnemar(gained, lost), rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 2**5),
        (1, 6, 2 * (1 + 7) / 2**7),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
        (4, 4, 1.0),
    ],
)
def test_mcnemar_by_hand(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-12)


def test_large_counts_neither_overflow_nor_vanish():
    assert mcnemar(49_500, 50_500) == pytest.approx(0.00158, rel=0.01)  # z = 999 / sqrt(100,000), two-sided
    assert 0 < mcnemar(300, 1000) < 1e-80


def test_turns_that_change_together_count_once():
    """Twelve dialogues lose all three turns, four gain all three: McNemar over turns sees 36 against 12."""
    gained = np.array([-3] * 12 + [3] * 4)
    assert sign_flip(gained) == pytest.approx(mcnemar(4, 12))
    assert mcnemar(12, 36) < sign_flip(gained) / 50


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values):
    corrected = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
    for p, after in zip(p_values, corrected, strict=True):
        assert p <= after <= min(1.0, len(p_values) * p)


def test_recovery_agrees_with_the_delta_method():
    random = np.random.default_rng(3)
    full = random.binomial(1, 0.8, 4000)
    right = full * random.binomial(1, 0.9, 4000)
    low, high = recovery_interval(right, full)
    rate = right.sum() / full.sum()
    spread = 1.96 * np.sqrt(rate * (1 - rate) / full.sum())
    assert (low, high) == pytest.approx((rate - spread, rate + spread), abs=0.003)


def test_recovery_of_the_uncompressed_model_is_1_without_doubt():
    assert recovery_interval(np.array([2, 1, 3, 3]), np.array([2, 1, 3, 3])) == (1.0, 1.0)


def test_recovery_has_no_interval_where_a_resample_may_be_all_wrong():
    assert recovery_interval(np.array([1, 0, 0]), np.array([1, 0, 0])) is None


def test_resampling_piece_by_piece_is_resampling_at_once(monkeypatch):
    right = np.random.default_rng(4).integers(0, 4, 50)
    at_once = mean_interval(right, np.full(50, 3))
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 777)
    assert mean_interval(right, np.full(50, 3)) == at_once
