"""The axes of plots of accuracy: what it costs to the right, the share that is right upwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from pinhole.view.cells import Row, count, is_judged
from pinhole.view.ink import INK, MUTED

Cost = Literal["kept_tokens", "ttft_ms"]
"""A field of a row that says what it costs."""


def cost_and_accuracy(axes: Axes, rows: Sequence[Row], kept: list[float], against: Cost) -> None:
    """Axes just large enough for every interval, from no time at all or with a tick at each number of kept tokens."""
    if against == "ttft_ms":
        axes.set_xlim(0, 1.08 * max(row["ttft_ms"] for row in rows))
        axes.set_xlabel("time to the first token, ms", color=INK)
    else:
        _token_axis(axes, rows, kept)
    ends = [end for row in rows for end in (*row["ci95"], row["average"])]
    share_axis(axes, min(ends), max(ends), "comparisons won" if is_judged(rows) else "turns answered correctly")


def share_axis(axes: Axes, bottom: float, top: float, name: str) -> None:
    """Shares of 1 from `bottom` to `top` upwards, with some room, and quiet lines."""
    edge = 0.08 * max(top - bottom, 0.02)
    axes.set_ylim(bottom - edge, top + edge)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if top - bottom > 0.05 else 1, symbol=" %"))
    axes.set_ylabel(name, color=INK)
    axes.tick_params(colors=INK, labelsize=9, length=0, pad=6)
    axes.grid(color=MUTED, alpha=0.28, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _token_axis(axes: Axes, rows: Sequence[Row], kept: list[float]) -> None:
    """Kept tokens to the right, by factors where they differ much; ticks that have no room are left out."""
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
    totals = {row["visual_tokens"] for row in rows}
    axes.set_xlabel("visual tokens kept" + (f" of {count(totals.pop())}" if len(totals) == 1 else ""), color=INK)
