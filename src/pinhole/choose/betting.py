"""How much evidence dialogues give for a bound on a loss, for any number of them and however often one looks.

A gambler starts with 1 and stakes a part of it on every dialogue at odds that are fair, or worse, if the hypothesis is
true. Then the capital is a nonnegative supermartingale, and it reaches 1/a at any time with a probability of a at most
(Ville's inequality). Large capital is evidence against the hypothesis; nothing is assumed about how turns of a dialogue
depend on each other, how losses are distributed, or when one stops. After Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", JRSS B 2024; the mean over several stakes, which do not change, is theirs too.

The dialogues are a random sample of those that the model will hold, in random order.
"""

from __future__ import annotations

import math

import numpy as np

STAKES = np.array([0.2, 0.4, 0.6, 0.8, 0.95])
"""Parts of the capital; each is played by a gambler of its own, and the mean of their capitals counts."""
_STEPS = 40


def less_than(bound: float, lost: np.ndarray, asked: np.ndarray, longest: int) -> float:
    """Logarithm of the capital of a gambler who bets that the loss is below `bound`.

    Args:
        bound: a loss of accuracy over all turns, a fraction of 1 in (-1, 1).
        lost: (D,) turns answered right by the reference minus those by the setting, in each dialogue.
        asked: (D,) turns in each dialogue.
        longest: turns of the longest dialogue there can be.
    """
    return _log_capital((bound * asked - lost) / (longest * (1 - bound)))


def more_than(bound: float, lost: np.ndarray, asked: np.ndarray, longest: int) -> float:
    """Logarithm of the capital of a gambler who bets that the loss is above `bound`; as `less_than` otherwise."""
    return _log_capital((lost - bound * asked) / (longest * (1 + bound)))


def at_most(level: float, lost: np.ndarray, asked: np.ndarray, longest: int) -> float:
    """The least bound that the loss is shown to be below, by evidence that errs with a probability of `level`.

    The evidence grows with the bound, so that halving finds it; 1.0 where nothing is shown.
    """
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if less_than(middle, lost, asked, longest) >= -math.log(level):
            high = middle
        else:
            low = middle
    return high


def fewest_dialogues(bound: float, level: float) -> int:
    """Dialogues after which a loss is shown to be below a bound above 0 where not one answer has changed."""
    growth, dialogues = np.log1p(STAKES * bound / (1 - bound)), 1
    while _mean_of(dialogues * growth) < -math.log(level):
        dialogues += 1
    return dialogues


def _log_capital(gains: np.ndarray) -> float:
    """Of `gains` of at least -1 for each unit that is staked."""
    return _mean_of(np.log1p(STAKES[:, None] * gains).sum(1))


def _mean_of(logs: np.ndarray) -> float:
    """The logarithm of the mean of what these are logarithms of."""
    top = logs.max()
    return float(top + np.log(np.exp(logs - top).mean()))
