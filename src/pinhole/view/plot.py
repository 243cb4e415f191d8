"""Accuracy against visual tokens kept, one marker per method."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from pinhole.view.cells import Row, count, full_row, labels, percent

INK = "#1b1f27"
"""The colour of every word and axis; the report puts the page's own text colour in its place."""
MUTED = "#8b919c"
_HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = "osD^vPX*"
_LINE = 0.21
"""Height of a line of a label, in inches."""
_APART = 9.0
"""Points between the markers of methods that keep the same number of tokens."""


def accuracy_plot(rows: Sequence[dict[str, Any]]) -> Figure:
    """Accuracy over all turns against visual tokens kept, with 95 % intervals.

    A method's rows at several `keep` are joined; methods that keep equally many stand side by side. The uncompressed
    model is a dashed line. The names stand to the right, from high to low, and never overlap.

    Args:
        rows: `results["rows"]`, in the layout of `pinhole.view.report.write_report`; at least one.
    """
    series: dict[str, list[Row]] = {}
    for row, label in zip(rows, labels(rows), strict=True):
        if row["method"] != "full":
            series.setdefault(label, []).append(row)
    for points in series.values():
        points.sort(key=lambda row: row["kept_tokens"])
    names = {
        label: textwrap.wrap(f"{label} {percent(points[0]['average'])}" if len(points) == 1 else label, 25)
        for label, points in series.items()
    }
    inches = 0.75 + _LINE * (3 + sum(len(lines) for lines in names.values()))
    figure = Figure(figsize=(6.6, max(3.8, inches)), dpi=150)
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.1, 0.58 / height, 0.555, 1 - 0.72 / height))
    _scales(axes, rows, [row["kept_tokens"] for points in series.values() for row in points])

    tags: list[_Tag] = []
    for i, (label, points) in enumerate(series.items()):
        marks = _draw(axes, points, i, (i - (len(series) - 1) / 2) * min(_APART, 54 / len(series)))
        tags.append(_Tag(points[-1]["average"], "\n".join(names[label]), marks))
    full = full_row(rows)
    if full is not None:
        line = axes.axhline(full["average"], color=INK, linestyle=(0, (5, 3)), linewidth=1.4, zorder=1)
        tags.append(_Tag(full["average"], f"uncompressed {percent(full['average'])}", line))
    _write(axes, sorted(tags, key=lambda tag: -tag.at))
    return figure


@dataclass(frozen=True)
class _Tag:
    """A name to write beside the axes: the accuracy it belongs to, its text, and what it names."""

    at: float
    text: str
    marks: Line2D


def _draw(axes: Axes, points: list[Row], i: int, aside: float) -> Line2D:
    """One method: its marker at each `keep`, moved aside by `aside` points, and its intervals."""
    assert axes.figure is not None
    moved = axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)
    x, y = [row["kept_tokens"] for row in points], np.array([row["average"] for row in points])
    ends = np.array([row["ci95"] for row in points]).T
    color = _HUES[i % len(_HUES)]
    axes.vlines(x, ends[0], ends[1], color=color, linewidth=1.8, transform=moved, zorder=2)
    (marks,) = axes.plot(
        x, y, color=color, marker=_MARKERS[i % len(_MARKERS)], markersize=7, linewidth=1.2, transform=moved, zorder=3
    )
    return marks


def _scales(axes: Axes, rows: Sequence[Row], kept: list[float]) -> None:
    """Axes just large enough for every interval, a tick at each number of kept tokens, quiet lines."""
    kept = kept or [row["kept_tokens"] for row in rows]
    low, high = min(kept), max(kept)
    if high > 3 * low:
        axes.set_xscale("log")
        ratio = (high / low) ** 0.1
        axes.set_xlim(low / ratio, high * ratio)
    else:
        room = max(high - low, 0.3 * high)
        axes.set_xlim(low - 0.2 * room, high + 0.2 * room)
    ticks: list[float] = []
    for value in sorted(set(kept), reverse=True):
        places = axes.transData.transform([(tick, 0.5) for tick in (value, *ticks[-1:])])[:, 0]
        if not ticks or places[1] - places[0] > 0.06 * axes.bbox.width:
            ticks.append(value)
    axes.set_xticks(ticks, [count(value) for value in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    bottom = min(end for row in rows for end in (*row["ci95"], row["average"]))
    top = max(end for row in rows for end in (*row["ci95"], row["average"]))
    edge = 0.08 * max(top - bottom, 0.02)
    axes.set_ylim(bottom - edge, top + edge)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top - bottom > 0.05 else 1, symbol=" %"))
    totals = {row["visual_tokens"] for row in rows}
    axes.set_xlabel("visual tokens kept" + (f" of {count(totals.pop())}" if len(totals) == 1 else ""), color=INK)
    axes.set_ylabel("turns answered correctly", color=INK)
    axes.tick_params(colors=INK, labelsize=9, length=0, pad=6)
    axes.grid(color=MUTED, alpha=0.28, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _write(axes: Axes, tags: list[_Tag]) -> None:
    """Write the names in a column beside the axes, each as near its accuracy as the others allow; highest first."""
    assert axes.figure is not None
    inches = axes.bbox.height / axes.figure.dpi
    low, high = axes.get_ylim()
    heights = [_LINE * (1 + tag.text.count("\n")) / inches for tag in tags]
    places = spread([(tag.at - low) / (high - low) for tag in tags], heights)
    for tag, place in zip(tags, places, strict=True):
        sign = Line2D(
            [1.03, 1.065], [place, place], transform=axes.transAxes, clip_on=False, color=tag.marks.get_color()
        )
        if tag.marks.get_marker() == "None":
            sign.set_linestyle((0, (3, 2)))
        else:
            sign.set(xdata=[1.0475], ydata=[place], marker=tag.marks.get_marker(), markersize=7)
        axes.add_line(sign)
        axes.text(1.085, place, tag.text, transform=axes.transAxes, va="center", fontsize=9.5, color=INK)


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres near `wanted` (falling order) of boxes of `heights` that lie in [0, 1] and do not overlap."""
    places: list[float] = []
    ceiling = 1.0
    for place, height in zip(wanted, heights, strict=True):
        places.append(min(place, ceiling - height / 2))
        ceiling = places[-1] - height / 2
    floor = 0.0
    for i in range(len(places) - 1, -1, -1):
        places[i] = max(places[i], floor + heights[i] / 2)
        floor = places[i] + heights[i] / 2
    return places
