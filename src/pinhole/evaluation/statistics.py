"""Bootstrap intervals over dialogues: the turns of one dialogue share an image and are not independent."""

from __future__ import annotations

import numpy as np

RESAMPLES = 10_000


def mean_interval(right: np.ndarray, asked: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the share of turns answered right.

    Args:
        right: (D,) turns answered right in each dialogue, or the difference of two methods' counts.
        asked: (D,) turns in each dialogue.
        seed: of the resampling.
    """
    draws = np.random.default_rng(seed).integers(len(right), size=(RESAMPLES, len(right)))
    shares = right[draws].sum(1) / asked[draws].sum(1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
