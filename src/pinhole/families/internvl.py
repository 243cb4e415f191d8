"""InternVL 2.5 and 3: transformers' `InternVLForConditionalGeneration`, tiles and a thumbnail, 1-D RoPE."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import torch
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from pinhole.families.base import Family
from pinhole.layout import Layout, View


class InternVL(Family):
    """The encoder sees tiles; an image is an unbroken run of placeholders: its tiles row by row, then a thumbnail.

    The model's inputs do not say how many rows and columns of tiles there are. Where `image_sizes`, (N, 2) heights and
    widths of the pictures, is among the inputs (Pinhole's `encode_turn` puts it there), the arrangement follows as the
    processor chose it; without, tiles come from unknown places. The processor writes each frame of a video as an image.
    """

    stacked: ClassVar[frozenset[str]] = frozenset({"image"})
    spent_inputs: ClassVar[tuple[str, ...]] = ("image_sizes",)

    def lengths(self, entries: list[int], where: torch.Tensor) -> list[int]:
        """Lengths of the unbroken runs of placeholders."""
        row, column = where.T
        starts = (row[1:] != row[:-1]) | (column[1:] != column[:-1] + 1)
        edges = [0, *(starts.nonzero()[:, 0] + 1).tolist(), len(where)]
        return [end - start for start, end in itertools.pairwise(edges)]

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """The tiles put together as one grid, and the thumbnail as another."""
        side = math.isqrt(self.model.config.image_seq_length)
        tile = inputs["pixel_values"].shape[-2:]
        sizes = inputs.get("image_sizes")
        sizes = [None] * len(lengths) if sizes is None else sizes.tolist()
        return [
            _layout(length // side**2, side, size, tuple(tile)) for length, size in zip(lengths, sizes, strict=True)
        ]

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Each image's tiles."""
        tiles = [length // self.model.config.image_seq_length for length in lengths]
        return list(inputs["pixel_values"].split(tiles))


def _layout(count: int, side: int, size: list[int] | None, tile: tuple[int, int]) -> Layout:
    thumbnail = View(side, side)
    if count == 1:
        return Layout.of(thumbnail)
    if size is None:
        return Layout.of(*[View(side, side, None)] * (count - 1), thumbnail)
    # the canvas that is best of all is also the best of those with so many tiles
    across, down = get_optimal_tiled_canvas(tuple(size), tile, count - 1, count - 1)
    cells = torch.arange(down * side * across * side).view(down, side, across, side).transpose(1, 2).flatten()
    last = Layout.of(thumbnail)
    views = (View(down * side, across * side), thumbnail)
    return Layout(views, torch.cat([torch.zeros_like(cells), last.view + 1]), torch.cat([cells, last.cell]))
