"""Draws cards on a figure, in inches from its top left corner."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pinhole.view.cards import Card, Map
from pinhole.view.marks import COLORS, DARK, OUTLINE, SCALE, Key
from pinhole.view.panels import Panel
from pinhole.view.pictures import draw_map
from pinhole.view.plot import INK, MUTED

TITLE, LINE, CAPTION, MAP = 0.46, 0.18, 0.17, 1.25
"""Inches that a title with its line of words, a line of a legend, a caption and a map take."""
_BETWEEN, _INDENT = 0.08, 0.36


class Pen:
    """Draws on a figure.

    Args:
        figure: to draw on.
        width: of a card, in inches.
    """

    def __init__(self, figure: Figure, width: float) -> None:
        self._figure, self._width = figure, width
        self._across, self._down = figure.get_size_inches()

    def write(self, x: float, y: float, text: str, **how: Any) -> None:
        """Text whose first line starts at a place; `how` as for matplotlib."""
        how = {"color": INK, "fontsize": 9.5, "va": "top", "parse_math": False, **how}
        self._figure.text(x / self._across, 1 - y / self._down, text, **how)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """New axes in a rectangle."""
        place = x / self._across, 1 - (y + height) / self._down, width / self._across, height / self._down
        return self._figure.add_axes(place)

    def card(self, card: Card, x: float, y: float) -> None:
        """A card with its top left corner at a place."""
        self.write(
            x, y, textwrap.shorten(card.title, round(self._width / 0.092), placeholder=" …"), fontsize=11, weight="bold"
        )
        self.write(x, y + 0.21, card.words, color=MUTED_INK)
        y += TITLE
        self._panels(card.panels, x, y)
        y += panels_height(card.panels, self._width) + 0.06
        for key in legend(card):
            self._key(key, x, y)
            y += LINE
        if card.map:
            self._map(card.map, x, y + 0.06)

    def _panels(self, panels: Sequence[Panel], x: float, y: float) -> None:
        columns, width = arranged(len(panels), self._width)
        for start in range(0, len(panels), columns):
            row = panels[start : start + columns]
            for i, panel in enumerate(row):
                left, height = x + i * (width + _BETWEEN), width * panel.image.height / panel.image.width
                axes = self.axes(left, y, width, height)
                axes.imshow(panel.image, aspect="auto")
                axes.set_axis_off()
                if panel.caption:
                    self.write(left, y + height + 0.02, panel.caption, fontsize=7.5, color=MUTED_INK)
            y += _row_height(row, width)

    def _key(self, key: Key, x: float, y: float) -> None:
        if key.sign:
            axes = self.axes(x, y + 0.015, 0.26, 0.13)
            axes.set(xticks=[], yticks=[], xlim=(0, 2), ylim=(0, 1))
            axes.spines[:].set(color=MUTED, linewidth=0.6)
            if key.sign == SCALE:
                axes.imshow(np.linspace(0, 1, 64)[None], cmap=COLORS, aspect="auto", extent=(0, 2, 0, 1))
            elif key.sign == OUTLINE:
                axes.set_facecolor("#9aa0a8")
                axes.add_patch(Rectangle((0.55, 0.12), 0.9, 0.76, fill=False, edgecolor="white", linewidth=1.6))
            else:
                axes.set_facecolor("#3a3a3e" if key.sign == DARK else key.sign)
        self.write(x + _INDENT, y + 0.01, key.text, fontsize=8.5)

    def _map(self, shown: Map, x: float, y: float) -> None:
        axes = self.axes(x + _INDENT + 0.08, y, self._width - _INDENT - 0.1, MAP - 0.5)
        draw_map(axes, shown.values)
        axes.set_xlabel("visual token", color=INK, fontsize=8, labelpad=2)
        axes.set_ylabel(shown.row, color=INK, fontsize=8, labelpad=2)
        axes.locator_params(axis="both", integer=True)
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(colors=INK, labelsize=7, length=2, pad=2)
        axes.spines[:].set_visible(False)


MUTED_INK = "#5c6470"
"""The colour of words that say less than others."""


def arranged(number: int, width: float) -> tuple[int, float]:
    """Pictures side by side, and the width of each: all of two or three, else a block that is wider than high."""
    columns = number if number < 4 else math.ceil(math.sqrt(1.5 * number))
    return max(columns, 1), (width - (columns - 1) * _BETWEEN) / max(columns, 1)


def panels_height(panels: Sequence[Panel], width: float) -> float:
    """Inches that a card's pictures take."""
    columns, each = arranged(len(panels), width)
    return sum(_row_height(panels[start : start + columns], each) for start in range(0, len(panels), columns))


def _row_height(row: Sequence[Panel], width: float) -> float:
    tallest = max(width * panel.image.height / panel.image.width for panel in row)
    return tallest + (CAPTION if any(panel.caption for panel in row) else 0.0)


def card_height(card: Card, width: float) -> float:
    """Inches that a card takes."""
    below = 0.06 + LINE * len(legend(card)) + (0.06 + MAP if card.map else 0.0)
    return TITLE + panels_height(card.panels, width) + below


def legend(card: Card) -> list[Key]:
    """The card's legend, with a line for its map where that has more than two values."""
    if card.map is None or not len(card.map.values):
        return card.keys
    top = float(card.map.values.max())
    plain = bool(((card.map.values == 0) | (card.map.values == top)).all())
    return card.keys if plain else [*card.keys, Key(SCALE, f"map: {card.map.weight}, 0 to {top:.2g}")]
