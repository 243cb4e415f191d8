"""Intervals and tests. Dialogues are the units: the turns of one share an image and are not independent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000
_DRAWN_AT_ONCE = 5_000_000
"""So that memory does not grow with the number of dialogues."""


def mean_interval(right: np.ndarray, asked: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the share of turns answered right, by the bootstrap over dialogues.

    Args:
        right: (D,) turns answered right in each dialogue, or the difference of two methods' counts.
        asked: (D,) turns in each dialogue.
        seed: of the resampling.
    """
    return _percentiles(*_resampled(right, asked, seed))


def recovery_interval(right: np.ndarray, full: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % percentile interval of the recovery rate: a method's accuracy divided by the uncompressed model's.

    Both are drawn together, dialogue by dialogue. None where there is a resample in which the uncompressed model
    answers nothing right: the rate has no value there, and too few of its answers are right for an interval.

    Args:
        right: (D,) turns that the method answers right in each dialogue.
        full: (D,) turns that the uncompressed model answers right in the same dialogues.
        seed: of the resampling.
    """
    above, below = _resampled(right, full, seed)
    return _percentiles(above, below) if (below > 0).all() else None


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p value of McNemar's exact test: `gained` of `gained + lost` changes, against a fair coin.

    It takes the changed answers to be independent of each other. Turns of one dialogue are not: where they change
    together the value is too small, and `sign_flip` is the test to go by.

    Args:
        gained: answers that only the first method has right.
        lost: answers that only the second has right.
    """
    changed = gained + lost
    return min(1.0, 2 * math.fsum(_coin(changed)[: min(gained, lost) + 1]))


def sign_flip(gained: np.ndarray) -> float:
    """Two-sided p value of the exact paired permutation test over dialogues.

    If two methods are alike, each dialogue might as well have gone the other way round: the value is the share of all
    2^D ways to exchange the methods' answers dialogue by dialogue after which the sum is as far from 0 as it was. With
    one turn a dialogue it is McNemar's exact test. All ways are counted, by convolving the sum's distributions.

    Args:
        gained: (D,) turns answered right by the first method minus those by the second: whole numbers or, where a score
            gives part of a point (VQA's), tenths.
    """
    tenths = np.abs(np.rint(10 * np.asarray(gained, float))).astype(int)
    unit = int(np.gcd.reduce(tenths)) or 1
    sizes, counts = np.unique(tenths // unit, return_counts=True)
    flipped = np.ones(1)  # P(s is what the dialogues sum to that go the other way)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if size:
            flipped = _with_steps(flipped, size, _coin(count))
    found = round(abs(10 * float(np.sum(gained))) / unit)
    return min(1.0, 2 * math.fsum(flipped[: (len(flipped) - 1 - found) // 2 + 1])) if found else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for many tests: where those up to 0.05 are believed, one of them is wrong in 5 % at most.

    The i-th smallest of k is multiplied by k - i + 1, made no smaller than the one before and no larger than 1 (Holm,
    "A simple sequentially rejective multiple test procedure", 1979).
    """
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def _resampled(above: np.ndarray, below: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of both over resampled dialogues, (RESAMPLES,) each."""
    random, rows = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // len(above))
    sums = []
    for start in range(0, RESAMPLES, rows):
        draws = random.integers(len(above), size=(min(rows, RESAMPLES - start), len(above)))
        sums.append((above[draws].sum(1), below[draws].sum(1)))
    return np.concatenate([one for one, _ in sums]), np.concatenate([other for _, other in sums])


def _percentiles(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(above / below, [0.025, 0.975])
    return float(low), float(high)


def _coin(tosses: int) -> np.ndarray:
    """(tosses + 1,) probabilities of each number of heads."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tosses + 1)))])
    return np.exp(logs[-1] - logs - logs[::-1] - tosses * math.log(2))


def _with_steps(sums: np.ndarray, size: int, steps: np.ndarray) -> np.ndarray:
    """The distribution of a sum to which a number of steps of one size is added."""
    added = np.zeros(len(sums) + size * (len(steps) - 1))
    for start in range(min(size, len(sums))):
        added[start::size] = np.convolve(sums[start::size], steps)
    return added
