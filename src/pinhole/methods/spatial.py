"""Spatial: average pooling over the image's own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pinhole.budget import kept_tokens
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Spatial(TrainingFree):
    """Average pooling on the 2-D grid with stride = kernel: each output is the mean of one rectangle of tokens.

    The baseline "Spatial" of MetaCompress, table 1. A kernel of whole tokens cannot meet every count, so the kernel is
    chosen, sides of its own for rows and columns, to give as many outputs as possible without exceeding
    `kept_tokens(n, keep)`, and among those to be as square as possible. Rectangles at the border may be smaller. Tokens
    that fill no grid are pooled as one row.
    """

    name = "spatial"
    paper = "baseline in MetaCompress, CVPR 2026"

    def count(self, n: int, grid: tuple[int, int] | None = None) -> int:
        """The number of rectangles that the chosen kernel makes; at most `kept_tokens(n, keep)`."""
        rows, columns = grid or (1, n)
        height, width = self._kernel(rows, columns)
        return math.ceil(rows / height) * math.ceil(columns / width)

    def reduce(self, image: VisualTokens) -> Reduction:
        """Assign each token to its rectangle and average."""
        rows, columns = image.grid or (1, image.n)
        height, width = self._kernel(rows, columns)
        across = math.ceil(columns / width)
        row, column = torch.meshgrid(torch.arange(rows) // height, torch.arange(columns) // width, indexing="ij")
        members = torch.nn.functional.one_hot((row * across + column).flatten()).T.to(image.x)
        return Reduction.mix(members / members.sum(-1, keepdim=True))

    def _kernel(self, rows: int, columns: int) -> tuple[int, int]:
        limit = kept_tokens(rows * columns, self.keep)

        def quality(kernel: tuple[int, int]) -> tuple[int, int, int]:
            height, width = kernel
            outputs = math.ceil(rows / height) * math.ceil(columns / width)
            return (outputs if outputs <= limit else -1, -abs(height - width), -height)

        return max(((h, w) for h in range(1, rows + 1) for w in range(1, columns + 1)), key=quality)
