"""A small transformer layer for the tokens that remain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    """Attention among all rows, attention to what the rows are made of, and a network on each.

    Each is added to what came in, which it reads normalised (pre-norm).

    Args:
        width: of the rows, and of what they are made of.
        heads: of both attentions.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.gather = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ask, self.offer, self.take = (nn.Linear(width, many * width) for many in (1, 2, 1))
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, rows: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """Rows (m, width), made of `source` (n, width), to (m, width)."""
        among, back, each = self.norms
        rows = rows + self.gather(self._attend(*self.qkv(among(rows)).chunk(3, 1)))
        rows = rows + self.take(self._attend(self.ask(back(rows)), *self.offer(source).chunk(2, 1)))
        return rows + self.narrow(F.gelu(self.widen(each(rows))))

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        parts = (each.unflatten(1, (self.heads, -1)).transpose(0, 1)[None] for each in (query, key, value))
        return F.scaled_dot_product_attention(*parts)[0].transpose(0, 1).flatten(1)
