"""Pictures that the encoder sees as tiles, one by one: whose tiles are whose, and the grid that they make together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from pinhole.families.base import Family
from pinhole.layout import Layout, View


@dataclass(frozen=True)
class Run:
    """An unbroken run of placeholders.

    Attributes:
        ids: of all tokens of its row.
        start: its first column.
        end: the column behind its last.
    """

    ids: torch.Tensor
    start: int
    end: int

    @property
    def length(self) -> int:
        """How many placeholders."""
        return self.end - self.start


def runs(ids: torch.Tensor, placeholder: int) -> list[list[Run]]:
    """The runs of each row.

    Args:
        ids: (B, L) of the prompts.
        placeholder: the id of the token that stands for one visual token.
    """
    rows = []
    for row in ids:
        is_inside = torch.nn.functional.pad((row == placeholder).int(), (1, 1)).diff()
        starts, ends = (is_inside == 1).nonzero()[:, 0].tolist(), (is_inside == -1).nonzero()[:, 0].tolist()
        rows.append([Run(row, start, end) for start, end in zip(starts, ends, strict=True)])
    return rows


def pictures(rows: list[list[Run]], same: Callable[[Run, Run], bool]) -> list[list[Run]]:
    """The runs of each picture, in the order of the prompt.

    Args:
        rows: of `runs`.
        same: whether a run and the next one of its row belong to the same picture.
    """
    groups: list[list[Run]] = []
    for row in rows:
        for i, run in enumerate(row):
            if i and same(row[i - 1], run):
                groups[-1].append(run)
            else:
                groups.append([run])
    return groups


def assembled(down: int, across: int, side: int, overview_first: bool = False) -> Layout:
    """Tiles row by row, put together as one grid over the whole picture, and an overview of it.

    Args:
        down: rows of tiles.
        across: columns of tiles.
        side: visual tokens along a tile, and along the overview.
        overview_first: whether its tokens come before the tiles'.
    """
    cells = torch.arange(down * side * across * side).view(down, side, across, side).transpose(1, 2).flatten()
    tiles = Layout((View(down * side, across * side),), torch.zeros_like(cells), cells)
    overview = Layout.of(View(side, side))
    first, second = (overview, tiles) if overview_first else (tiles, overview)
    return Layout(
        first.views + second.views,
        torch.cat([first.view, second.view + 1]),
        torch.cat([first.cell, second.cell]),
    )


class Mosaic(Family):
    """The tiles of a picture row by row and, where there are several, an overview of it.

    Class attributes:
        overview_first: whether the overview comes before the tiles.
    """

    stacked: ClassVar[frozenset[str]] = frozenset({"image"})
    overview_first: ClassVar[bool] = False

    @property
    @abstractmethod
    def side(self) -> int:
        """Visual tokens along a tile."""

    def is_same_picture(self, run: Run, following: Run) -> bool:
        """Whether two runs of placeholders belong together: here, each run is a picture of its own."""
        return False

    def arrangement(self, picture: list[Run], tiles: int, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Rows and columns of a picture's tiles; None where nothing tells.

        Args:
            picture: its placeholders.
            tiles: how many, the overview aside.
            size: (height, width) of the picture, where the inputs have it.
        """
        return None

    def lengths(self, modality: str, inputs: dict[str, Any], entries: list[int]) -> list[int]:
        """The tokens of a picture's tiles together."""
        return [sum(run.length for run in picture) for picture in self._pictures(inputs)]

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """The tiles put together as one grid, and the overview as another."""
        given = inputs.get("image_sizes")
        sizes = [None] * len(lengths) if given is None else [(height, width) for height, width in given.tolist()]
        return [self._layout(*pair) for pair in zip(self._pictures(inputs), sizes, strict=True)]

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Each picture's tiles."""
        return list(self.tiles(inputs).split([length // self.side**2 for length in lengths]))

    def tiles(self, inputs: dict[str, Any]) -> torch.Tensor:
        """(N, 3, H, W) pixels of all tiles of the batch."""
        return inputs["pixel_values"]

    def _pictures(self, inputs: dict[str, Any]) -> list[list[Run]]:
        return pictures(runs(inputs["input_ids"], self.token_id("image")), self.is_same_picture)

    def _layout(self, picture: list[Run], size: tuple[int, int] | None) -> Layout:
        tiles, overview = sum(run.length for run in picture) // self.side**2 - 1, View(self.side, self.side)
        if not tiles:
            return Layout.of(overview)
        if arrangement := self.arrangement(picture, tiles, size):
            return assembled(*arrangement, self.side, self.overview_first)
        unknown = [View(self.side, self.side, None)] * tiles
        return Layout.of(overview, *unknown) if self.overview_first else Layout.of(*unknown, overview)


class Sized(Mosaic):
    """Mosaics whose arrangement follows from the picture's size.

    The processor's output does not say how many rows and columns of tiles there are. Where `image_sizes`, (N, 2)
    heights and widths of the pictures, is among the inputs (Pinhole's `encode_turn` puts it there), the arrangement
    follows as the processor chose it; without, tiles come from unknown places.
    """

    spent_inputs: ClassVar[tuple[str, ...]] = ("image_sizes",)

    def describe(self, images: list[Image.Image], videos: int) -> dict[str, torch.Tensor]:
        """The pictures' heights and widths, unless frames of videos stand among them."""
        if videos or not images:
            return {}
        return {"image_sizes": torch.tensor([[image.height, image.width] for image in images])}

    def arrangement(self, picture: list[Run], tiles: int, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """The closest to the picture's aspect ratio."""
        if size is None:
            return None
        # the canvas that is best of all is also the best of those with so many tiles
        across, down = get_optimal_tiled_canvas(size, (1, 1), tiles, tiles)
        return down, across
