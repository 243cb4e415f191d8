"""What servers reached, as a table."""

from __future__ import annotations

from typing import Any

from pinhole.view.cells import NONE, count, percent
from pinhole.view.table import Table

HEADER = ["Server", "Requests/s", "TTFT p50", "p95", "p99", "Prefix hits", "KV peak", "Fit", "Failed"]


def table(results: dict[str, Any]) -> Table:
    """A row for each server; times in ms, and in brackets what a value is of the first server's."""
    rows = results["rows"]
    return Table(HEADER, [[_cells(row, compared=row is not rows[0]) for row in rows]])


def errors(results: dict[str, Any]) -> list[str]:
    """A line for each kind of failure, and for requests that the time limit cut."""
    lines = []
    for row in results["rows"]:
        lines += [f"{row['name']}: {number} failed: {reason}" for reason, number in row["errors"].items()]
        if cut := row["requests"]["cut"]:
            lines.append(
                f"{row['name']}: {cut} cut as the time was up; give a longer --time-limit or fewer --dialogues"
            )
    return lines


def _cells(row: dict[str, Any], compared: bool) -> list[str]:
    to_first, kv = row["to_first"], row["kv"]
    times, relative = row["ttft_ms"]["all"], to_first["ttft_ms"]["all"]

    def beside(text: str, ratio: float | None) -> str:
        return f"{text} [{ratio:.2f}×]" if compared and ratio is not None else text

    return [
        row["name"],
        beside(f"{row['requests_per_s']:.3g}", to_first["requests_per_s"]),
        *(beside(f"{times[name]:,.0f}", relative[name]) if times else NONE for name in ("p50", "p95", "p99")),
        _or_none(row["prefix_hit_rate"], percent),
        _or_none(kv["peak_share"], percent),
        beside(_or_none(kv["dialogues_fit"], count), to_first["dialogues_in_same_kv"]),
        count(row["requests"]["failed"]),
    ]


def _or_none(value: float | None, shown: Any) -> str:
    return NONE if value is None else shown(value)
