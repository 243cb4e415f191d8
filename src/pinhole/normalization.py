"""X centred on the image's mean token and scaled: Z = s (X - mean), what learned methods look at."""

from __future__ import annotations

import torch

AT_ONCE = 2**22
"""Numbers of X that are held at once in another precision than its own."""


def blocks_of(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tokens (n, d) in blocks of at most `AT_ONCE` numbers, or of one token."""
    return x.split(max(1, AT_ONCE // x.shape[1]))


def mean_and_scale(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """X's mean token (d,) and the factor s, in `dtype`: the rows of s (X - mean) have a mean norm of sqrt(d).

    Args:
        x: (n, d), in any precision.
        dtype: to compute in.
    """
    blocks = blocks_of(x)
    mean = torch.stack([block.to(dtype).sum(0) for block in blocks]).sum(0) / len(x)
    exact = "donot_use_mm_for_euclid_dist"
    norms = torch.cat([torch.cdist(block.to(dtype), mean[None], compute_mode=exact) for block in blocks])
    return mean, x.shape[1] ** 0.5 / norms.mean().clamp_min(1e-6)
