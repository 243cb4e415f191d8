"""Floating point operations, counted while they happen."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    """The whole square of scores, as PyTorch counts its kernels for GPUs."""
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _matrix_vector(matrix: Any, *_args: Any, **_kwargs: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _merge(tokens: Any, indices: Any, *_args: Any, **_kwargs: Any) -> int:
    """Weighted sums of some rows each, as `Reduction.merge` makes them."""
    return 2 * indices[0] * tokens[1]


_UNKNOWN = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten._embedding_bag: _merge,
    torch.ops.aten._embedding_bag_forward_only: _merge,
}
"""What PyTorch's counter passes over."""


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, which also sees the CPU's attention kernels, products of a matrix and a vector, and merges."""
    return FlopCounterMode(display=False, custom_mapping=_UNKNOWN)
