"""Two contenders on the same dialogues: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pinhole.evaluation.answers import Answered
from pinhole.evaluation.statistics import holm, mcnemar, mean_interval, recovery_interval, sign_flip


@dataclass(frozen=True)
class Paired:
    """One contender held against another, dialogue by dialogue.

    Attributes:
        difference: how much more of the turns it answers right, as a fraction of 1.
        ci95: interval of the difference, by the bootstrap over dialogues.
        gained: turns on which it scores more.
        lost: turns on which it scores less.
        mcnemar: p value of McNemar's exact test over turns, which takes them to be independent; None where a score
            gives part of a point.
        p: p value of the exact permutation test over dialogues, which does not.
        p_holm: the same, corrected by Holm for all that were held against the same other; None before `corrected`.
    """

    difference: float
    ci95: tuple[float, float]
    gained: int
    lost: int
    mcnemar: float | None
    p: float
    p_holm: float | None


def paired(one: Sequence[Answered], other: Sequence[Answered]) -> Paired:
    """Hold one contender's answers against another's.

    Args:
        one: a contender's answers, dialogue by dialogue; not empty.
        other: the other's answers to the same dialogues, in the same order.
    """
    scores = [np.concatenate([np.array(record.correct, float) for record in records]) for records in (one, other)]
    right = [right_of(one), right_of(other)]
    asked = np.array([len(record.correct) for record in one])
    gained, lost = int((scores[0] > scores[1]).sum()), int((scores[0] < scores[1]).sum())
    is_binary = all(np.isin(of_one, (0, 1)).all() for of_one in scores)
    return Paired(
        difference=float((right[0] - right[1]).sum() / asked.sum()),
        ci95=mean_interval(right[0] - right[1], asked),
        gained=gained,
        lost=lost,
        mcnemar=mcnemar(gained, lost) if is_binary else None,
        p=sign_flip(right[0] - right[1]),
        p_holm=None,
    )


def right_of(records: Sequence[Answered]) -> np.ndarray:
    """(D,) turns answered right in each dialogue."""
    return np.array([sum(record.correct) for record in records], float)


def recovery(one: Sequence[Answered], full: Sequence[Answered]) -> tuple[float | None, tuple[float, float] | None]:
    """A contender's accuracy divided by the uncompressed model's on the same dialogues, and its 95 % interval.

    Both None where the uncompressed model answers nothing right; the interval where it answers too little right.
    """
    right, base = right_of(one), right_of(full)
    if not base.sum():
        return None, None
    return float(right.sum() / base.sum()), recovery_interval(right, base)


def corrected(found: Sequence[Paired]) -> list[Paired]:
    """The same with `p_holm`, for as many comparisons as there are."""
    p_values = holm([one.p for one in found])
    return [replace(one, p_holm=p) for one, p in zip(found, p_values, strict=True)]
