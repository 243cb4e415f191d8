"""Benchmark results as three tables: up to the first token, the dialogue, and what is computed and held."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from pinhole.view.cells import NONE, Row, count, labels, percent, quantity, share_kept
from pinhole.view.table import Table


def tables(results: dict[str, Any]) -> dict[str, Table]:
    """The tables by their titles; times are medians in milliseconds.

    Raises:
        ValueError: nothing could be measured.
    """
    if not results["rows"]:
        raise ValueError("none of the methods could be measured: " + "; ".join(refusals(results)))
    turns = results["dialogue"]["turns"]
    later: dict[str, Callable[[Row], str]] = {
        f"{turns} turns": lambda row: _ms_to_full(row, "dialogue"),
        f"{turns} turns, all read anew": lambda row: _ms_to_full(row, "dialogue_without_reuse"),
    }
    return {
        "Up to the first token, ms": _table(
            results,
            {
                "Encoder": lambda row: _ms(row, "encoder"),
                "Own work": lambda row: _ms(row, "method"),
                "First token [quartiles]": _first_token,
                "Speed-up": lambda row: _speedup(row, "measured"),
                "FLOPs allow": lambda row: _speedup(row, "allowed"),
                "Relative to Sample": lambda row: _relative(row["to_sample"], "ttft"),
                "Of the limit": lambda row: NONE if (share := row["share_of_limit"]) is None else percent(share),
            },
        ),
        "The dialogue, ms, and relative to the uncompressed model": _table(
            results,
            {
                "Later token": lambda row: _ms(row, "token"),
                "One turn": lambda row: _ms_to_full(row, "turn"),
                **(later if turns > 1 else {}),
            },
        ),
        "Computed up to the first token, and held": _table(
            results,
            {
                "Encoder FLOPs": lambda row: quantity(row["flops"]["encoder"], ""),
                "Own FLOPs": lambda row: quantity(row["flops"]["method"], "") if row["flops"]["method"] else "0",
                "LLM FLOPs": lambda row: quantity(row["flops"]["llm"], ""),
                "by budget": lambda row: quantity(row["analytic"]["flops"]["llm"], ""),
                "KV cache": lambda row: quantity(row["kv_bytes"], "B"),
                "Peak memory": lambda row: (
                    NONE if (peak := row["peak_bytes"]) is None else quantity(peak["median"], "B")
                ),
                "Peak to full": lambda row: _relative(row["to_full"], "peak_bytes"),
            },
        ),
    }


def refusals(results: dict[str, Any]) -> list[str]:
    """A line for each method that could not be measured."""
    return [f"{one['method']} was not measured: {one['reason']}" for one in results["refused"]]


def _table(results: dict[str, Any], columns: dict[str, Callable[[Row], str]]) -> Table:
    """Rows of one keep together, larger ones first."""
    rows = results["rows"]
    pairs = sorted(zip(rows, labels(rows), strict=True), key=lambda pair: -share_kept(pair[0]))
    groups = [
        [[name, count(round(row["kept_tokens"], 1)), *(cell(row) for cell in columns.values())] for row, name in group]
        for _, group in itertools.groupby(pairs, key=lambda pair: share_kept(pair[0]))
    ]
    return Table(["Method", "Tokens", *columns], groups)


def _ms(row: Row, name: str) -> str:
    return milliseconds(row["ms"][name]["median"])


def _first_token(row: Row) -> str:
    first = row["ms"]["ttft"]
    return f"{_ms(row, 'ttft')} [{milliseconds(first['q1'])}, {milliseconds(first['q3'])}]"


def _speedup(row: Row, name: str) -> str:
    speedup = row["speedup"]
    if speedup is None:
        return NONE
    return f"{speedup['measured']['median'] if name == 'measured' else speedup['allowed']:.2f}×"


def _ms_to_full(row: Row, name: str) -> str:
    return _ms(row, name) + ("" if row["to_full"] is None else f" [{percent(row['to_full']['ms'][name])}]")


def _relative(ratios: dict[str, Any] | None, name: str) -> str:
    if ratios is None:
        return NONE
    ratio = ratios["ms"].get(name, ratios.get(name))
    return NONE if ratio is None else percent(ratio)


def milliseconds(value: float) -> str:
    """Three digits, or all in front of the point: "0.312", "28.4", "1,204"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
