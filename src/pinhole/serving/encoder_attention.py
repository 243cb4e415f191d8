"""What vLLM's encoders tell about their patches: the cues of `pinhole.families.cues`, at the layer that is read."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Set
from typing import Any

import torch
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_gather

from pinhole.families.cues import Call


@contextlib.contextmanager
def recorded(attention: torch.nn.Module, names: Set[str], dropped: int) -> Iterator[dict[str, list[torch.Tensor]]]:
    """While the block runs the encoder, collect cues of its patches.

    Args:
        attention: vLLM's attention (`MMEncoderAttention`) of the layer that the projector reads.
        names: of the cues.
        dropped: tokens at the start of each tile that become no visual tokens.

    Yields:
        for each name, tensors (patches, ...) in the order in which the encoder attends to them.
    """
    calls: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def note(module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        given = {**dict(zip(("query", "key", "value", "cu_seqlens"), args, strict=False)), **kwargs}
        query, key = (_heads(module, given[name]) for name in ("query", "key"))
        for segment in _segments(query.shape[2], given.get("cu_seqlens")):
            call = Call(query[:, :, segment], key[:, :, segment], module.scale)
            for name, found in calls.items():
                found.append(getattr(call, name)()[:, dropped:].flatten(0, 1))

    hook = attention.register_forward_pre_hook(note, with_kwargs=True) if names else None
    try:
        yield calls
    finally:
        if hook:
            hook.remove()


def _heads(module: Any, states: torch.Tensor) -> torch.Tensor:
    """(B, heads, T, width) of all heads, of which each process computes its own."""
    states = states.unflatten(2, (module.num_heads, module.head_size)) if states.dim() == 3 else states
    if get_tensor_model_parallel_world_size() > 1:
        states = tensor_model_parallel_all_gather(states.contiguous(), dim=2)
    return states.transpose(1, 2)


def _segments(length: int, bounds: torch.Tensor | None) -> list[slice]:
    """The images, frames or windows that attend to themselves alone, where they are rows of one sequence."""
    if bounds is None:
        return [slice(0, length)]
    edges = bounds.tolist()
    return [slice(start, end) for start, end in itertools.pairwise(edges) if end > start]
