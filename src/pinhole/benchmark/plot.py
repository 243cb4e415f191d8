"""Time to the first token and memory relative to the uncompressed model, beside what FLOPs allow."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pinhole.view.cells import Row, count, labels, share_kept
from pinhole.view.ink import HUES, INK, MUTED
from pinhole.view.plot import LINE


def compared_rows(results: dict[str, Any]) -> list[tuple[str, Row]]:
    """The rows that are held against the uncompressed model's, with a name: larger keeps first, then the faster."""
    rows = results["rows"]
    pairs = [
        (f"{label}, {count(round(row['kept_tokens'], 1))} tokens", row)
        for row, label in zip(rows, labels(rows), strict=True)
        if row["method"] != "full" and row["to_full"] is not None
    ]
    return sorted(pairs, key=lambda pair: (-share_kept(pair[1]), pair[1]["to_full"]["ms"]["ttft"]))


def ratio_plot(pairs: list[tuple[str, Row]]) -> Figure:
    """Two panels of bars, one bar for each row: time to the first token, and the KV cache with the peak of memory.

    In the first, whiskers are quartiles and a black line stands where the time would be if it went as the FLOPs do; in
    the second, a diamond is the peak of memory, where it could be told.

    Args:
        pairs: what `compared_rows` gives; at least one.
    """
    names = [textwrap.wrap(name, 30) for name, _ in pairs]
    heights = [max(1.6 * LINE, LINE * (len(lines) + 0.4)) for lines in names]
    gaps = [0.0] + [
        0.6 * LINE * (share_kept(one) != share_kept(other)) for (_, one), (_, other) in itertools.pairwise(pairs)
    ]
    tall = sum(heights) + sum(gaps)
    figure = Figure(figsize=(9.2, tall + 0.96), dpi=150)
    height = figure.get_size_inches()[1]
    panels = [figure.add_axes((left, 0.62 / height, 0.34, tall / height)) for left in (0.27, 0.645)]
    ends = list(itertools.accumulate(gap + high for gap, high in zip(gaps, heights, strict=True)))
    places = [end - high / 2 for end, high in zip(ends, heights, strict=True)]
    for place, (_, row) in zip(places, pairs, strict=True):
        _time_bar(panels[0], place, row)
        _memory_bar(panels[1], place, row)
    for axes, title in zip(panels, ("time to the first token", "memory"), strict=True):
        _finish(axes, tall, f"{title}, relative to full")
    panels[0].set_yticks(places, ["\n".join(lines) for lines in names], parse_math=False)
    panels[1].set_yticks([])
    _legends(panels, any(row["to_full"]["peak_bytes"] is not None for _, row in pairs))
    return figure


def _time_bar(axes: Axes, place: float, row: Row) -> None:
    ratio, speedup = row["to_full"]["ms"]["ttft"], row["speedup"]["measured"]
    axes.barh(place, ratio, height=LINE, color=HUES[0])
    axes.hlines(place, 1 / speedup["q3"], 1 / speedup["q1"], color=INK, linewidth=1)
    axes.vlines(row["to_full"]["flops"], place - 0.7 * LINE, place + 0.7 * LINE, color=INK, linewidth=2.4)


def _memory_bar(axes: Axes, place: float, row: Row) -> None:
    axes.barh(place, row["to_full"]["kv_bytes"], height=LINE, color=HUES[4])
    if row["to_full"]["peak_bytes"] is not None:
        axes.plot(row["to_full"]["peak_bytes"], place, marker="D", color=INK, markersize=6)


def _finish(axes: Axes, tall: float, name: str) -> None:
    axes.set_ylim(tall, 0)
    axes.set_xlim(0, max(1.05, axes.get_xlim()[1]))
    axes.axvline(1, color=INK, linestyle=(0, (5, 3)), linewidth=1.2, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_xlabel(name, color=INK)
    axes.tick_params(colors=INK, labelsize=9, length=0, pad=6)
    axes.grid(axis="x", color=MUTED, alpha=0.28, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _legends(panels: list[Axes], has_peak: bool) -> None:
    """What is drawn, above each panel."""
    time = Line2D([], [], color=HUES[0], linewidth=7, label="measured")
    allowed = Line2D(
        [], [], color=INK, linewidth=0, marker="|", markersize=11, markeredgewidth=2.4, label="FLOPs allow"
    )
    cache = Line2D([], [], color=HUES[4], linewidth=7, label="KV cache")
    peak = Line2D([], [], color=INK, linewidth=0, marker="D", markersize=6, label="peak")
    for axes, handles in zip(panels, ([time, allowed], [cache, *([peak] if has_peak else [])]), strict=True):
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(-0.02, 1),
            ncols=2,
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            handlelength=1.2,
        )
