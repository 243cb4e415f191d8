"""Kept: which of a context's tokens the layers behind a cut hold in the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Kept:
    """The columns of the context, as the first layer counts them, that a layer holds.

    Attributes:
        columns: (B, p) of those before `start`; -1 where a row has fewer than others.
        start: every column from here on is held.
        even: whether every row holds p real tokens, none of them padding.
    """

    columns: torch.Tensor
    start: int
    even: bool

    def held(self, length: int) -> int:
        """Entries of the layer's cache when the context has `length` columns."""
        return self.columns.shape[1] + length - self.start

    def all_columns(self, length: int) -> torch.Tensor:
        """(B, held) the columns of every entry."""
        tail = torch.arange(self.start, length, device=self.columns.device)
        return torch.cat([self.columns, tail.expand(len(self.columns), -1)], 1)


State = dict[int, Kept]
"""What the layers behind each cut hold, by the cut's layer. Never changed in place."""

_STATE, _OWNER = "pinhole_state", "pinhole_owner"


def state_of(cache: object) -> State:
    """The state that travels with a KV cache; empty where no tokens left yet."""
    return getattr(cache, _STATE, {})


def owner_of(cache: object) -> object:
    """Whoever set the state; None where there is none."""
    return getattr(cache, _OWNER, None)


def set_state(cache: object, state: State, owner: object) -> None:
    """Let `state` travel with a KV cache."""
    setattr(cache, _STATE, state)
    setattr(cache, _OWNER, owner)


def lengths_of(cache: object, layers: int, length: int) -> list[int]:
    """Entries of each layer's cache when the context has `length` columns, all of its images among them."""
    state = state_of(cache)
    kept: Kept | None = None
    lengths = []
    for layer in range(layers):
        kept = state.get(layer, kept)
        lengths.append(length if kept is None else kept.held(length))
    return lengths


def mask_of(
    kept: torch.Tensor, valid: torch.Tensor, queries: torch.Tensor, attention: str, dtype: torch.dtype
) -> torch.Tensor:
    """The attention mask of a layer that holds part of the context.

    Args:
        kept: (B, k) columns of its keys, -1 for none.
        valid: (B, L) whether a column is a real token.
        queries: (B, q) columns of the tokens of this pass, -1 for none.
        attention: the implementation: flash kernels take (B, k), "sdpa" a bool (B, 1, q, k), "eager" numbers to add.
        dtype: of these.
    """
    real = valid.gather(1, kept.clamp_min(0)) & (kept >= 0)
    if "flash" in attention:
        return real.long()
    seen = real[:, None, :].expand(-1, queries.shape[1], -1)
    if queries.shape[1] > 1:
        seen = seen & (kept[:, None, :] <= queries[:, :, None])
        # rows of padding see something, so that no softmax is over nothing
        seen = seen | (~valid.gather(1, queries.clamp_min(0)) | (queries < 0))[:, :, None]
    seen = seen[:, None]
    if attention == "eager":
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
    return seen
