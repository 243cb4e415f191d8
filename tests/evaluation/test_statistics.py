"""Intervals: against the normal approximation, and as a resampling of dialogues rather than of turns."""

from __future__ import annotations

import numpy as np
import pytest

from pinhole.evaluation.statistics import mean_interval


def test_agrees_with_the_normal_approximation():
    right = np.random.default_rng(1).binomial(1, 0.7, 2000)
    low, high = mean_interval(right, np.ones_like(right))
    spread = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    assert low == pytest.approx(right.mean() - spread, abs=0.003)
    assert high == pytest.approx(right.mean() + spread, abs=0.003)


def test_turns_that_fail_together_widen_the_interval():
    asked = np.full(300, 3)
    apart = np.random.default_rng(2).binomial(3, 0.5, 300)
    together = 3 * np.random.default_rng(2).binomial(1, 0.5, 300)
    width = [high - low for low, high in (mean_interval(apart, asked), mean_interval(together, asked))]
    assert width[1] == pytest.approx(width[0] * np.sqrt(3), rel=0.1)


def test_dialogues_of_unlike_length_weigh_by_their_turns():
    right, asked = np.array([1, 0] * 200), np.array([1, 3] * 200)
    low, high = mean_interval(right, asked)
    assert low < 0.25 < high
    assert high - low < 0.1


def test_nothing_varies_where_every_dialogue_is_alike():
    assert mean_interval(np.full(10, 2), np.full(10, 4)) == (0.5, 0.5)
