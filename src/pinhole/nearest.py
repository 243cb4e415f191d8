"""Which rows of a matrix are most like others, without ever holding the matrix of all pairs."""

from __future__ import annotations

import torch

ROWS = 256
"""Rows that are compared with all others at once."""


def nearest(x: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each row of `x` (a, c) the largest product with a row of `others` (b, c), and the number of that row.

    Returns:
        (a,) products and (a,) int64, the first of several. The largest tensor made on the way has `ROWS` x b numbers.
    """
    best = [(block @ others.T).max(-1) for block in x.split(ROWS)]
    return torch.cat([values for values, _ in best]), torch.cat([numbers for _, numbers in best])


def neighbours(unit: torch.Tensor, rows: torch.Tensor, without: torch.Tensor, k: int) -> torch.Tensor:
    """(r, k) int64: for some `rows` (r,) of `unit` (n, c) the k others with the largest product, the largest first.

    Args:
        unit: compared with itself; rows of length 1 are compared by their cosine.
        rows: whose neighbours.
        without: (r, w) those that are not looked at for each of them.
        k: how many, n - w at most. The earlier one comes first where products are equal.
    """
    found = []
    for some, out in zip(rows.split(ROWS), without.split(ROWS), strict=True):
        similarity = (unit[some] @ unit.T).scatter_(1, out, -torch.inf)
        found.append(similarity.argsort(dim=-1, descending=True, stable=True)[:, :k])
    return torch.cat(found)
