"""Marks on visual tokens, painted over the picture where the tokens come from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pinhole.layout import WHOLE, Layout, View

SIDE = 576
"""Pixels that the longer side of a picture has at least; it has less than twice as many."""
_BEYOND = 150
"""Grey of what the encoder sees beyond the picture's edges, and of tokens that come from no known place."""
_UNREAD, _STRIPES = 0.3, 14
"""Light on parts of the picture that no token shows, and the pixels between the stripes there."""


@dataclass(frozen=True, eq=False)
class Marks:
    """How each of n visual tokens is shown.

    Attributes:
        light: (n,) how much of the picture's brightness and colour is left, 1 for all.
        colour: (n, 3) what lies over it, 0 to 255.
        cover: (n,) how much that hides, 0 for nothing.
        outlined: (n,) bool: whether there is a white line around it.
    """

    light: np.ndarray
    colour: np.ndarray
    cover: np.ndarray
    outlined: np.ndarray

    @classmethod
    def plain(cls, n: int, light: float = 1.0) -> Marks:
        """The picture as it is, or less bright."""
        return cls(np.full(n, light), np.zeros((n, 3)), np.zeros(n), np.zeros(n, bool))


def fit(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The image in RGB, its longer side brought to `side` to under twice that, by a whole factor or to just under."""
    longer = max(image.size)
    factor = math.ceil(side / longer) if longer < 2 * side else (2 * side - 1) / longer
    size = [max(1, round(length * factor)) for length in image.size]
    return image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)


def paint(image: Image.Image, layout: Layout, number: int, marks: Marks, side: int = SIDE) -> Image.Image:
    """One view of a picture with marks on its tokens.

    What the view covers beyond the picture (padding) is shown in grey, parts of the picture that it does not cover are
    dark and striped. A view from an unknown place is a grey grid.

    Args:
        image: the picture, or the view's frame of a video.
        layout: of its n tokens.
        number: of the view in the layout.
        marks: on all n tokens.
        side: pixels, as for `fit`.
    """
    view = layout.views[number]
    canvas, across, down = _canvas(image, view, side)
    index = np.full(view.rows * view.columns, layout.n)
    mine = (layout.view == number).numpy()
    index[layout.cell.numpy()[mine]] = mine.nonzero()[0]
    cells = np.pad(index.reshape(view.rows, view.columns), 1, constant_values=layout.n)
    # the stretch that each pixel is in, 0 in front of the grid and the last behind it
    rows = np.searchsorted(down, np.arange(canvas.height), "right")
    columns = np.searchsorted(across, np.arange(canvas.width), "right")
    token = cells[rows[:, None], columns]
    pixels, grey = np.asarray(canvas, np.float32), np.asarray(canvas.convert("L"), np.float32)[..., None]
    light = np.append(marks.light, _UNREAD)[token][..., None]
    cover = np.append(marks.cover, 0.0)[token][..., None]
    colour = np.append(marks.colour, [[0, 0, 0]], 0)[token]
    shown = (1 - cover) * light * (light * pixels + (1 - light) * grey) + cover * colour
    striped = (token == layout.n) & (np.add.outer(np.arange(len(rows)), np.arange(len(columns))) % _STRIPES < 2)
    shown[striped] = _BEYOND
    picture = Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    width = min(5, max(1, round(min(across[1] - across[0], down[1] - down[0]) / 14)))
    for place, number_of_token in enumerate(index):
        if number_of_token < layout.n and marks.outlined[number_of_token]:
            row, column = divmod(place, view.columns)
            box = (across[column], down[row], across[column + 1] - 1, down[row + 1] - 1)
            draw.rectangle(box, outline="black", width=width + 1)
            draw.rectangle(box, outline="white", width=width)
    return picture


def _canvas(image: Image.Image, view: View, side: int) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """The picture with room for all that the view covers, and the edges of its columns and rows there in pixels."""
    picture = fit(Image.new("L", (view.columns, view.rows), _BEYOND) if view.box is None else image, side)
    top, left, bottom, right = view.box or WHOLE
    above, before = min(0.0, top), min(0.0, left)
    width, height = picture.size
    size = round((max(1.0, right) - before) * width), round((max(1.0, bottom) - above) * height)
    canvas = Image.new("RGB", size, (_BEYOND,) * 3)
    canvas.paste(picture, (round(-before * width), round(-above * height)))
    across = _edges((left - before) * width, (right - left) * width, view.columns)
    return canvas, across, _edges((top - above) * height, (bottom - top) * height, view.rows)


def _edges(start: float, length: float, parts: int) -> np.ndarray:
    """(parts + 1,) whole pixels: where each of `parts` equal stretches starts, and the end of the last."""
    return (start + np.arange(parts + 1) * length / parts).round().astype(int)
