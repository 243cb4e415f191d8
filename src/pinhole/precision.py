"""The precision that a device computes fastest."""

from __future__ import annotations

import time

import torch

_SIDE = 256


def fastest_precision(device: torch.device) -> torch.dtype:
    """bfloat16, but float32 on a CPU that multiplies matrices faster in it: without AVX-512 bfloat16 is emulated."""
    if device.type != "cpu":
        return torch.bfloat16
    return min((torch.bfloat16, torch.float32), key=_product_seconds)


def _product_seconds(dtype: torch.dtype) -> float:
    """The shortest of four small products, the first of which may still pick its kernel."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        matrix @ matrix
        taken.append(time.perf_counter() - start)
    return min(taken)
