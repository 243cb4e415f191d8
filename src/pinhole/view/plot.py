"""Accuracy against what it costs, one marker per method, with the Pareto front marked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from pinhole.view.axes import Cost, cost_and_accuracy
from pinhole.view.cells import Row, full_row, labels, percent
from pinhole.view.ink import HUES, INK, MARKERS, MUTED
from pinhole.view.pareto import pareto_front

LINE = 0.21
"""Height of a line of a label, in inches."""
_APART = 9.0
"""Points between the markers of methods that keep the same number of tokens."""


def accuracy_plot(rows: Sequence[dict[str, Any]], against: Cost = "kept_tokens") -> Figure:
    """Accuracy over all turns against visual tokens kept or the time to the first token, with 95 % intervals.

    A method's rows at several `keep` are joined; methods that keep equally many stand side by side. The uncompressed
    model is a dashed line, and a point where its time is told. Points on the Pareto front are ringed, and a grey line
    says what accuracy can be had at which cost. The names stand to the right, from high to low, and never overlap.

    Args:
        rows: `results["rows"]`, in the layout of `pinhole.view.report.write_report`; at least one.
        against: what it costs; every row has it.
    """
    series: dict[str, list[Row]] = {}
    for row, label in zip(rows, labels(rows), strict=True):
        if row["method"] != "full":
            series.setdefault(label, []).append(row)
    for points in series.values():
        points.sort(key=lambda row: row[against])
    names = {
        label: textwrap.wrap(f"{label} {percent(points[0]['average'])}" if len(points) == 1 else label, 25)
        for label, points in series.items()
    }
    inches = 0.75 + LINE * (3 + sum(len(lines) for lines in names.values()))
    figure = Figure(figsize=(6.6, max(3.8, inches)), dpi=150)
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.1, 0.58 / height, 0.555, 1 - 0.72 / height))
    cost_and_accuracy(axes, rows, [row["kept_tokens"] for points in series.values() for row in points], against)

    tags: list[Tag] = []
    places: list[tuple[float, float]] = []
    for i, (label, points) in enumerate(series.items()):
        apart = min(_APART, 54 / len(series)) if against == "kept_tokens" else 0
        marks = _draw(axes, points, i, (i - (len(series) - 1) / 2) * apart, against)
        shifted = axes.transData.inverted().transform(marks.get_transform().transform(marks.get_xydata()))
        places += [(float(x), float(y)) for x, y in shifted]
        tags.append(Tag(points[-1]["average"], "\n".join(names[label]), marks))
    full = full_row(rows)
    if full is not None:
        line = axes.axhline(full["average"], color=INK, linestyle=(0, (5, 3)), linewidth=1.4, zorder=1)
        tags.append(Tag(full["average"], f"uncompressed {percent(full['average'])}", line))
    shown = [row for points in series.values() for row in points]
    if full is not None and against == "ttft_ms":
        axes.plot(full[against], full["average"], color=INK, marker="o", markersize=7, zorder=3)
        shown, places = [*shown, full], [*places, (full[against], full["average"])]
    _mark_front(axes, shown, places, against)
    write_tags(axes, sorted(tags, key=lambda tag: -tag.at))
    return figure


@dataclass(frozen=True)
class Tag:
    """A name to write beside the axes: the height it belongs to, its text, and what it names."""

    at: float
    text: str
    marks: Line2D


def _draw(axes: Axes, points: list[Row], i: int, aside: float, against: Cost) -> Line2D:
    """One method: its marker at each cost, moved aside by `aside` points, and its intervals."""
    assert axes.figure is not None
    moved = axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)
    x, y = [row[against] for row in points], np.array([row["average"] for row in points])
    ends = np.array([row["ci95"] for row in points]).T
    color = HUES[i % len(HUES)]
    axes.vlines(x, ends[0], ends[1], color=color, linewidth=1.8, transform=moved, zorder=2)
    (marks,) = axes.plot(
        x, y, color=color, marker=MARKERS[i % len(MARKERS)], markersize=7, linewidth=1.2, transform=moved, zorder=3
    )
    return marks


def _mark_front(axes: Axes, rows: Sequence[Row], places: Sequence[tuple[float, float]], against: Cost) -> None:
    """Rings about the markers on the Pareto front, and the steps between them up to the right edge."""
    front = pareto_front([row[against] for row in rows], [row["average"] for row in rows])
    if front:
        x, y = zip(*(places[i] for i in front), strict=True)
        axes.plot(x, y, "o", markersize=14, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.1, zorder=4)
        axes.step([*x, axes.get_xlim()[1]], [*y, y[-1]], where="post", color=MUTED, linewidth=3, alpha=0.55, zorder=1)


def write_tags(axes: Axes, tags: list[Tag]) -> None:
    """Write the names in a column beside the axes, each as near its height as the others allow; highest first."""
    assert axes.figure is not None
    inches = axes.bbox.height / axes.figure.dpi
    low, high = axes.get_ylim()
    heights = [LINE * (1 + tag.text.count("\n")) / inches for tag in tags]
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
        axes.text(
            1.085, place, tag.text, transform=axes.transAxes, va="center", fontsize=9.5, color=INK, parse_math=False
        )


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
