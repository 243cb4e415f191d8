"""A differentiable top-k: a sigmoid whose threshold makes it sum to k (VisionSelector, arXiv 2510.16598)."""

from __future__ import annotations

from typing import Any

import torch

_HALVINGS = 64


class _SoftTopK(torch.autograd.Function):
    """The threshold is found by bisection; its gradient follows from the sum that does not change."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, k: int) -> torch.Tensor:
        exact = scores.double()
        reach = 40.0  # sigmoid(-40) is 4e-18
        low, high = -exact.max() - reach, -exact.min() + reach
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_short = (exact + middle).sigmoid().sum() < k
            low, high = torch.where(is_short, middle, low), torch.where(is_short, high, middle)
        mask = (exact + (low + high) / 2).sigmoid()
        ctx.save_for_backward(mask * (1 - mask))
        return mask.to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope,) = ctx.saved_tensors
        gradient = gradients[0].double()
        common = (gradient * slope).sum() / slope.sum().clamp_min(torch.finfo(slope.dtype).tiny)
        return (slope * (gradient - common)).to(gradients[0].dtype), None


def soft_top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """sigma(s_i + t) with t such that they sum to k: (n,) in (0, 1), with gradients.

    Args:
        scores: (n,).
        k: from 1 to n - 1.
    """
    return _SoftTopK.apply(scores, k)
