"""Farthest-first traversal: points of a set that are as far from each other as can be."""

from __future__ import annotations

import torch

TIE = 1e-5
"""Squared distances that differ by less than this share are one and the same but for rounding."""


@torch.no_grad()
def farthest_first(points: torch.Tensor, m: int) -> torch.Tensor:
    """(m,) int64, ascending: the point farthest from the mean of all, then one by one the farthest from those chosen.

    Distances are Euclidean; each step computes those to one point, so that nothing of (n, n) is formed. Ties, as
    between duplicates, go to the earlier point and not to rounding, and no point is chosen twice.

    Args:
        points: (n, c).
        m: how many, at most n.
    """
    nearest = (points - points.mean(0)).square().sum(1)
    pick = _first_largest(nearest)
    picks, nearest = [pick], torch.full_like(nearest, torch.inf)
    for _ in range(m - 1):
        distance = (points - points.index_select(0, pick)).square().sum(1)
        nearest = torch.minimum(nearest, distance).index_fill(0, pick, -1.0)
        pick = _first_largest(nearest)
        picks.append(pick)
    return torch.cat(picks).sort().values


def _first_largest(values: torch.Tensor) -> torch.Tensor:
    """(1,), the place of the largest of (n,) values, the first of those that are as large."""
    return (values >= values.amax(0) * (1 - TIE)).byte().argmax(0, keepdim=True)
