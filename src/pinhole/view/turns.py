"""How accuracy changes from turn to turn of a dialogue."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pinhole.view.axes import share_axis
from pinhole.view.cells import Row, is_judged, labels, share_kept
from pinhole.view.ink import HUES, INK, MARKERS
from pinhole.view.plot import LINE, Tag, write_tags


def turn_plot(rows: Sequence[Row], share: float) -> Figure:
    """Accuracy of each turn, one line per method; colours and markers are those of `pinhole.view.plot.accuracy_plot`.

    The uncompressed model is dashed. The names stand to the right, from high to low at the last turn.

    Args:
        rows: of the results, which have two turns at least.
        share: of the visual tokens; rows that kept it are shown, and the uncompressed model's.
    """
    names = labels(rows)
    order = list(dict.fromkeys(name for row, name in zip(rows, names, strict=True) if row["method"] != "full"))
    shown = [
        (row, ["uncompressed"], None) if row["method"] == "full" else (row, textwrap.wrap(name, 25), order.index(name))
        for row, name in zip(rows, names, strict=True)
        if row["method"] == "full" or share_kept(row) == share
    ]
    figure = Figure(figsize=(6.6, max(3.4, 0.75 + LINE * (2 + sum(len(lines) for _, lines, _ in shown)))), dpi=150)
    height = figure.get_size_inches()[1]
    axes = figure.add_axes((0.1, 0.58 / height, 0.555, 1 - 0.72 / height))
    shares = [right for row, _, _ in shown for right in row["accuracy"]]
    share_axis(axes, min(shares), max(shares), "comparisons won" if is_judged(rows) else "answered correctly")
    axes.set_xlabel("turn", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tags = []
    for row, lines, place in shown:
        style: dict[str, Any]
        if place is None:
            style = {"color": INK, "linestyle": (0, (5, 3)), "linewidth": 1.4}
        else:
            style = {"color": HUES[place % len(HUES)], "marker": MARKERS[place % len(MARKERS)], "markersize": 7}
        (marks,) = axes.plot(range(1, len(row["accuracy"]) + 1), row["accuracy"], **style)
        tags.append(Tag(row["accuracy"][-1], "\n".join(lines), marks))
    write_tags(axes, sorted(tags, key=lambda tag: -tag.at))
    return figure
