"""From CLIP's patches to the sequence that the LLM reads: one global view, then the image in tiles.

A tile's patches are merged two by two. The global view is read row by row; then comes a separator; then the tiles are
read as one big grid, row by row across tiles. Every row of either ends with a mark.
"""

from __future__ import annotations

import torch
from torch import nn

from pinhole.models.xcomposer2.configuration import XComposer2Config


def count_tokens(h_tiles: int, w_tiles: int, side: int) -> int:
    """How many visual tokens an image of `h_tiles` x `w_tiles` tiles has, marks included; `side` is per tile."""
    return side * (side + 1) + 1 + h_tiles * side * (w_tiles * side + 1)


def pack_views(
    views: torch.Tensor, h_tiles: int, w_tiles: int, row_end: torch.Tensor, view_end: torch.Tensor
) -> torch.Tensor:
    """The tokens of one image in the order in which the LLM reads them.

    Args:
        views: (1 + h_tiles * w_tiles, side, side, d) the global view, then the tiles in raster order.
        h_tiles: rows of tiles.
        w_tiles: columns of tiles.
        row_end: (d,) ends every row.
        view_end: (d,) stands between the global view and the tiles.

    Returns:
        (n, d) with n from `count_tokens`.
    """
    side, width = views.shape[1], views.shape[-1]
    tiles = views[1:].view(h_tiles, w_tiles, side, side, width).transpose(1, 2)
    tiles = tiles.reshape(h_tiles * side, w_tiles * side, width)
    return torch.cat([_end_rows(views[0], row_end), view_end[None], _end_rows(tiles, row_end)])


def _end_rows(grid: torch.Tensor, row_end: torch.Tensor) -> torch.Tensor:
    """(rows, columns, d) to (rows * (columns + 1), d)."""
    return torch.cat([grid, row_end.expand(len(grid), 1, -1)], 1).flatten(0, 1)


def token_layout(h_tiles: int, w_tiles: int, side: int) -> torch.Tensor:
    """Where each visual token of an image lies.

    Args:
        h_tiles: rows of tiles.
        w_tiles: columns of tiles.
        side: tokens along each side of a tile.

    Returns:
        (n, 3) of int64: the view (0 global, 1 tiles), the row and the column in that view; -1 thrice for a separator.
    """
    steps = torch.arange(side)
    local = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
    whole = torch.cat([torch.zeros(side, side, 1, dtype=torch.long), local], -1)
    corners = torch.cartesian_prod(torch.arange(h_tiles), torch.arange(w_tiles)).view(-1, 1, 1, 2) * side
    tiles = torch.cat([torch.ones(h_tiles * w_tiles, side, side, 1, dtype=torch.long), local + corners], -1)
    mark = torch.full((3,), -1)
    return pack_views(torch.cat([whole[None], tiles]), h_tiles, w_tiles, mark, mark)


def merge_patches(patches: torch.Tensor) -> torch.Tensor:
    """Lay two by two patches side by side: (T, (2 * side)**2, c) in raster order to (T, side, side, 4 * c)."""
    count, n, width = patches.shape
    side = round(n**0.5) // 2
    blocks = patches.view(count, side, 2, side, 2, width).transpose(2, 3)
    return blocks.reshape(count, side, side, 4 * width)


class XComposer2MultiModalProjector(nn.Module):
    """Orders an image's patches into tokens, marks included, and projects each to the LLM's width."""

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__()
        merged, width = 4 * config.vision_config.hidden_size, config.text_config.hidden_size
        self.row_end = nn.Parameter(torch.zeros(1, 1, 1, merged))
        self.view_end = nn.Parameter(torch.zeros(1, 1, merged))
        self.linear_1 = nn.Linear(merged, width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(width, width)

    def forward(self, patches: torch.Tensor, grids: list[tuple[int, int]]) -> list[torch.Tensor]:
        """Tokens of each image.

        Args:
            patches: (T, N, c) of every image's global view and tiles, one image after the other.
            grids: (rows, columns) of tiles of each image.

        Returns:
            (n_i, d) for each image.
        """
        sizes = [1 + rows * columns for rows, columns in grids]
        row_end, view_end = self.row_end.flatten(), self.view_end.flatten()
        packed = [
            pack_views(views, rows, columns, row_end, view_end)
            for views, (rows, columns) in zip(merge_patches(patches).split(sizes), grids, strict=True)
        ]
        tokens = self.linear_2(self.act(self.linear_1(torch.cat(packed))))
        return list(tokens.split([len(x) for x in packed]))
