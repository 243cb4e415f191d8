"""A small transformer layer among the tokens that remain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Mixer(nn.Module):
    """Attention among all rows and a network on each, both added to what came in and normalised first (pre-norm).

    Args:
        width: of the rows.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.gather = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(m, width) to (m, width)."""
        qkv = self.qkv(self.norm_attention(rows)).unflatten(1, (3, self.heads, -1))
        query, key, value = qkv.permute(1, 2, 0, 3)[:, None]
        gathered = F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).flatten(1)
        rows = rows + self.gather(gathered)
        return rows + self.narrow(F.gelu(self.widen(self.norm_network(rows))))
