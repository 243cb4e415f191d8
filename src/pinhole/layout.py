"""Layout: where in the picture each visual token comes from, exactly."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, replace

import torch

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""All of a picture."""


@dataclass(frozen=True)
class View:
    """One grid of visual tokens: the whole picture, its tiles put together, or one frame of a video.

    Attributes:
        rows: of the grid.
        columns: of the grid.
        box: (top, left, bottom, right) of what the grid covers, as shares of the picture's height and width; it may
            reach a little beyond [0, 1] where the encoder saw padding. None where the inputs do not tell.
        frame: number of the video's frame (or of its group of frames that are encoded together); 0 for images.
    """

    rows: int
    columns: int
    box: Box | None = WHOLE
    frame: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """The source map of n visual tokens.

    Attributes:
        views: the grids that the picture was encoded as.
        view: (n,) int64, the number of each token's grid in `views`; -1 for a token that comes from no place: a
            separator, such as the newline after each row of tiles.
        cell: (n,) int64, row * columns + column in that grid; -1 for separators.
    """

    views: tuple[View, ...]
    view: torch.Tensor
    cell: torch.Tensor

    @classmethod
    def of(cls, *parts: View | int) -> Layout:
        """The layout of whole grids, each row by row, and of separators between them.

        Args:
            parts: in the order of the tokens: a grid, or a number of separators.
        """
        views = tuple(part for part in parts if isinstance(part, View))
        view, cell, number = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)], 0
        for part in parts:
            if isinstance(part, View):
                size = part.rows * part.columns
                view.append(torch.full((size,), number))
                cell.append(torch.arange(size))
                number += 1
            else:
                view.append(torch.full((part,), -1))
                cell.append(torch.full((part,), -1))
        return cls(views, torch.cat(view), torch.cat(cell))

    @property
    def n(self) -> int:
        """How many visual tokens there are."""
        return len(self.view)

    @functools.cached_property
    def separators(self) -> torch.Tensor:
        """(n,) bool: the tokens that come from no place."""
        return self.view < 0

    @functools.cached_property
    def grid(self) -> tuple[int, int] | None:
        """(rows, columns) where all tokens together fill one grid row by row, else None."""
        if len(self.views) != 1:
            return None
        [view] = self.views
        whole = torch.equal(self.cell, torch.arange(view.rows * view.columns))
        return (view.rows, view.columns) if whole else None

    @functools.cached_property
    def frames(self) -> torch.Tensor:
        """(n,) int64: each token's frame; a separator belongs to the frame before it."""
        of_view = torch.tensor([view.frame for view in self.views] or [0])
        frames = torch.where(self.separators, -1, of_view[self.view.clamp_min(0)])
        return frames.cummax(0).values.clamp_min(0) if self.n else frames

    def boxes(self) -> torch.Tensor:
        """(n, 4) float64: top, left, bottom, right of each token as shares of the picture; NaN where there is none."""
        boxes = torch.full((self.n, 4), torch.nan, dtype=torch.float64)
        for number, view in enumerate(self.views):
            if view.box is None:
                continue
            mine = self.view == number
            top, left, bottom, right = view.box
            row, column = (self.cell[mine] // view.columns).double(), (self.cell[mine] % view.columns).double()
            height, width = (bottom - top) / view.rows, (right - left) / view.columns
            edges = (top + row * height, left + column * width, top + (row + 1) * height, left + (column + 1) * width)
            boxes[mine] = torch.stack(edges, -1)
        return boxes

    def take(self, indices: torch.Tensor) -> Layout:
        """The layout of some of the tokens, in the order given; `views` stays as it is, less those without tokens."""
        view, cell = self.view[indices], self.cell[indices]
        present = view[view >= 0].unique()
        renumber = torch.full((len(self.views) + 1,), -1)
        renumber[present] = torch.arange(len(present))
        return Layout(tuple(self.views[i] for i in present.tolist()), renumber[view], cell)

    def within(self, box: Box) -> Layout:
        """The same tokens where the picture is the part `box` of a larger one, of which the boxes are shares then."""
        if box == WHOLE:
            return self
        views = tuple(replace(view, box=view.box and part_of(box, view.box)) for view in self.views)
        return Layout(views, self.view, self.cell)

    def on_grids(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Values (n,) of the tokens where they belong: (rows, columns) float32 for every view, NaN for no token."""
        grids = []
        for number, view in enumerate(self.views):
            mine = self.view == number
            grid = torch.full((view.rows * view.columns,), torch.nan)
            grid[self.cell[mine]] = values[mine].float()
            grids.append(grid.view(view.rows, view.columns))
        return grids

    def written(self) -> str:
        """As JSON, for `read`."""
        views = [asdict(view) for view in self.views]
        return json.dumps({"views": views, "view": self.view.tolist(), "cell": self.cell.tolist()})

    @classmethod
    def read(cls, text: str) -> Layout:
        """What `written` gave."""
        told = json.loads(text)
        views = tuple(View(**{**view, "box": view["box"] and tuple(view["box"])}) for view in told["views"])
        return cls(views, torch.tensor(told["view"]).long(), torch.tensor(told["cell"]).long())


def part_of(outer: Box, inner: Box) -> Box:
    """`inner`, whose edges are shares of `outer`, by what `outer` has its shares of."""
    (top, left, bottom, right), (height, width) = inner, (outer[2] - outer[0], outer[3] - outer[1])
    return outer[0] + top * height, outer[1] + left * width, outer[0] + bottom * height, outer[1] + right * width
