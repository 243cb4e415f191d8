"""One row of results as formatted cells: the only place that turns a measured number into words."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from pinhole.registry import METHODS

Row = dict[str, Any]
"""What one method reached at one `keep`: an element of `results["rows"]`; accuracies are fractions of 1."""
NONE = "–"
"""Stands where nothing was measured."""
RECOVERY = "Of full [95 %]"


def percent(share: float) -> str:
    """A fraction of 1 as "71.2 %"."""
    return f"{100 * share:.1f} %"


def count(tokens: float) -> str:
    """Visual tokens: "2,880", or "13.5" where the count is a mean."""
    return f"{tokens:,.1f}".removesuffix(".0")


def points(difference: float) -> str:
    """A difference of two fractions of 1 in percentage points, with its sign: "+11.1", "−0.4"."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def quantity(value: float, unit: str) -> str:
    """A large number with a decimal prefix: "2.1 GFLOP"."""
    thousands = min(6, max(0, int(math.log10(value) // 3))) if value >= 1 else 0
    return f"{value / 1000**thousands:.3g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[thousands]}{unit}"


def method_label(name: str) -> str:
    """A method's name as its class writes it, "metacompress" as "MetaCompress"; names from elsewhere as they are."""
    if "+" in name[:-1]:
        return " + ".join(method_label(part) for part in re.split(r"\+(?=[A-Za-z])", name))
    return METHODS[name].rpartition(":")[2] if name in METHODS else name


def tokens(row: Row) -> str:
    """Visual tokens that a row keeps: "14 of 144"; and by layer where these differ: "57 of 144 (144 ×2, 14 ×4)"."""
    text = f"{count(row['kept_tokens'])} of {count(row['visual_tokens'])}"
    runs = [(value, len(list(run))) for value, run in itertools.groupby(row.get("per_layer") or [])]
    layers = ", ".join(f"{count(value)} ×{length}" for value, length in runs)
    return f"{text} ({layers})" if len(runs) > 1 else text


def labels(rows: Sequence[Row]) -> list[str]:
    """What to call each row: its method, and those settings in which the rows of that method differ.

    Of a path its last part is shown.
    """
    texts = []
    for row in rows:
        peers = [other["settings"] or {} for other in rows if other["method"] == row["method"]]
        own = row["settings"] or {}
        differing = [key for key in own if any(peer.get(key) != own[key] for peer in peers)]
        note = ", ".join(f"{key}={str(own[key]).rpartition('/')[2]}" for key in differing)
        texts.append(method_label(row["method"]) + (f" ({note})" if note else ""))
    return texts


def share_kept(row: Row) -> float:
    """The share of visual tokens that a row was asked to keep, or kept where the method decided itself."""
    if isinstance(row["keep"], float):
        return row["keep"]
    return (row["kept_tokens"] if row["keep"] is None else row["keep"]) / row["visual_tokens"]


def full_row(rows: Sequence[Row]) -> Row | None:
    """The row of the uncompressed model, if it was run."""
    return next((row for row in rows if row["method"] == "full"), None)


def columns(rows: Sequence[Row]) -> list[str]:
    """The headings of `cells`: Method, Visual tokens, one per turn, and what it costs.

    The recovery rate has a column where any row has one: results of before it was recorded have none.
    """
    relative = "" if full_row(rows) is None else " to full"
    return [
        "Method",
        "Visual tokens",
        *(f"Turn {turn + 1}" for turn in range(len(rows[0]["accuracy"]))),
        "Mean [95 %]",
        *([RECOVERY] if has_recovery(rows) else []),
        "Points over Sample [95 %]",
        f"LLM FLOPs{relative}",
        f"KV cache{relative}",
        "First token",
    ]


def has_recovery(rows: Sequence[Row]) -> bool:
    """Whether any row's accuracy is known as a share of the uncompressed model's."""
    return any(row.get("recovery") is not None for row in rows)


def is_judged(rows: Sequence[Row]) -> bool:
    """Whether accuracies are shares of comparisons with the reference answers that a judge says were won."""
    return any("win_rate" in row for row in rows)


def recovery(row: Row) -> str:
    """The share of the uncompressed model's accuracy, with its interval: "91.2 % [89.0, 93.1]"."""
    if row["recovery"] is None:
        return NONE
    interval = " [{:.1f}, {:.1f}]".format(*(100 * end for end in row["recovery_ci95"])) if row["recovery_ci95"] else ""
    return percent(row["recovery"]) + interval


def cells(row: Row, label: str, full: Row | None, recovers: bool = False) -> list[str]:
    """One row under the headings `columns`.

    Args:
        row: of the results.
        label: what to call it.
        full: the uncompressed model's row, to which FLOPs and KV bytes are relative; without it they are absolute.
        recovers: whether there is a column for the recovery rate.
    """
    low, high = row["ci95"]
    difference = NONE
    if row["delta_to_sample"] is not None:
        difference = points(row["delta_to_sample"])
        if row["delta_ci95"] is not None:
            difference += " [{}, {}]".format(*map(points, row["delta_ci95"]))
    return [
        label,
        tokens(row),
        *map(percent, row["accuracy"]),
        f"{percent(row['average'])} [{100 * low:.1f}, {100 * high:.1f}]",
        *([recovery(row)] if recovers else []),
        difference,
        percent(row["flops"] / full["flops"]) if full else quantity(row["flops"], "FLOP"),
        percent(row["kv_bytes"] / full["kv_bytes"]) if full else quantity(row["kv_bytes"], "B"),
        NONE if row["ttft_ms"] is None else f"{row['ttft_ms']:.1f} ms",
    ]
