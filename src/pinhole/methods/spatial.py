"""Spatial: average pooling over the image's own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from pinhole.budget import kept_tokens
from pinhole.layout import Layout, View
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Spatial(TrainingFree):
    """Average pooling on the 2-D grid with stride = kernel: each output is the mean of one rectangle of tokens.

    The baseline "Spatial" of MetaCompress, table 1. A kernel of whole tokens cannot meet every count, so the kernel is
    chosen, sides of its own for rows and columns, to give as many outputs as possible without exceeding
    `kept_tokens(n, keep)`, and among those to be as square as possible. Rectangles at the border may be smaller.

    Tiles and frames are pooled each on its own grid, with the same kernel; separators, which come from no place, go,
    unless everything is kept. Tokens that fill no grids, or more grids than tokens may remain, are pooled as one row.
    """

    name = "spatial"
    paper = "baseline in MetaCompress, CVPR 2026"

    def count(self, n: int, layout: Layout | None = None) -> int:
        """The number of rectangles that the chosen kernel makes; at most `kept_tokens(n, keep)`."""
        if kept_tokens(n, self.keep) == n:
            return n
        views = self._views(n, layout)
        return _outputs(views, self._kernel(n, views))

    def reduce(self, image: VisualTokens) -> Reduction:
        """Assign each token to its rectangle and average."""
        views = self._views(image.n, image.layout)
        layout = image.layout if views is image.layout.views else Layout.of(*views)
        height, width = self._kernel(image.n, views)
        blocks, start = torch.full((image.n,), -1), 0
        for number, view in enumerate(views):
            mine = layout.view == number
            row, column = layout.cell[mine] // view.columns, layout.cell[mine] % view.columns
            across = math.ceil(view.columns / width)
            blocks[mine] = start + row // height * across + column // width
            start += math.ceil(view.rows / height) * across
        pooled = (blocks >= 0).nonzero()[:, 0]
        return Reduction.merge(blocks[pooled].to(image.x.device), pooled.to(image.x.device), start, image.n)

    def flops(self, n: int, m: int, width: int) -> int:
        """P X."""
        return 2 * n * width

    def _views(self, n: int, layout: Layout | None) -> tuple[View, ...]:
        """The grids to pool on: the image's own, or one row."""
        if layout is not None and _whole(layout) and len(layout.views) <= kept_tokens(n, self.keep):
            return layout.views
        return (View(1, n),)

    def _kernel(self, n: int, views: tuple[View, ...]) -> tuple[int, int]:
        limit = kept_tokens(n, self.keep)
        rows, columns = max(view.rows for view in views), max(view.columns for view in views)

        def quality(kernel: tuple[int, int]) -> tuple[int, int, int]:
            height, width = kernel
            outputs = _outputs(views, kernel)
            return (outputs if outputs <= limit else -1, -abs(height - width), -height)

        return max(((h, w) for h in range(1, rows + 1) for w in range(1, columns + 1)), key=quality)


def _outputs(views: tuple[View, ...], kernel: tuple[int, int]) -> int:
    height, width = kernel
    return sum(math.ceil(view.rows / height) * math.ceil(view.columns / width) for view in views)


def _whole(layout: Layout) -> bool:
    """Whether every cell of every grid has its token."""
    return bool(layout.views) and int((~layout.separators).sum()) == sum(v.rows * v.columns for v in layout.views)
