"""Farthest-first traversal: points of a set that are as far from each other as can be."""

from __future__ import annotations

import torch


@torch.no_grad()
def farthest_first(points: torch.Tensor, m: int) -> torch.Tensor:
    """(m,) int64, ascending: the point farthest from the mean of all, then one by one the farthest from those chosen.

    Distances are Euclidean; each step computes those to one point, so that nothing of (n, n) is formed. Ties go to the
    earlier point, and no point is chosen twice.

    Args:
        points: (n, c).
        m: how many, at most n.
    """
    nearest = (points - points.mean(0)).square().sum(1)
    pick = nearest.argmax(0, keepdim=True)
    picks, nearest = [pick], torch.full_like(nearest, torch.inf)
    for _ in range(m - 1):
        distance = (points - points.index_select(0, pick)).square().sum(1)
        nearest = torch.minimum(nearest, distance).index_fill(0, pick, -1.0)
        pick = nearest.argmax(0, keepdim=True)
        picks.append(pick)
    return torch.cat(picks).sort().values
