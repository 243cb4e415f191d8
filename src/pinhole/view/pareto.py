"""Which of several results no other one beats in both cost and accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """The places of the points that no other point dominates, by rising cost.

    One point dominates another if it costs no more, is worth no less, and differs. Equal points are on the front
    together or not at all.

    Args:
        costs: smaller is better.
        values: larger is better; one for each cost.
    """
    front: list[int] = []
    best = float("-inf")
    by_cost = sorted(range(len(costs)), key=lambda i: costs[i])
    for _, same in itertools.groupby(by_cost, key=lambda i: costs[i]):
        places = list(same)
        top = max(values[i] for i in places)
        if top > best:
            front += [i for i in places if values[i] == top]
            best = top
    return front
