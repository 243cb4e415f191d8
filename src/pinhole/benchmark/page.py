"""A benchmark as one HTML page: the tables of the terminal, and what is left of the uncompressed model's cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinhole.benchmark.plot import compared_rows, ratio_plot
from pinhole.benchmark.rivals import LIMIT
from pinhole.benchmark.table import milliseconds, refusals, tables
from pinhole.view.cells import NONE, Row, count, method_label, percent, share_kept
from pinhole.view.embed import inline_svg
from pinhole.view.render import render


def write_page(path: str | Path, results: dict[str, Any]) -> None:
    """Write one self-contained page: it opens offline, prints, and follows the reader's light or dark setting.

    Args:
        path: of the page; its folder exists.
        results: what `pinhole.benchmark.run.bench` returns.

    Raises:
        ValueError: nothing could be measured.
    """
    shown, pairs, lead = tables(results), compared_rows(results), leading_row(results)
    render(
        path,
        "bench.html.jinja",
        headline=_headline(lead),
        about=[results["model"], f"{results['dtype']} on {results['device']}", f"attention {results['attention']}"],
        facts=_facts(lead),
        plot=inline_svg(ratio_plot(pairs), "ratios", _told(pairs)) if pairs else None,
        tables=list(shown.items()),
        notes=list(dict.fromkeys(refusals(results))) + ([results["no_peak"]] if results["no_peak"] else []),
        provenance=_provenance(results),
    )


def leading_row(results: dict[str, Any]) -> Row:
    """The row that a reader should see first: at the strongest compression, the method whose first token comes first.

    Sample, the limit and the uncompressed model lead only where nothing else was measured.
    """
    rows = results["rows"]
    for beside in (("full", LIMIT, "sample"), ("full", LIMIT), ()):
        there = [row for row in rows if row["method"] not in beside]
        if there:
            break
    strongest = min(map(share_kept, there))
    return min((row for row in there if share_kept(row) == strongest), key=lambda row: row["ms"]["ttft"]["median"])


def _headline(row: Row) -> str:
    name = method_label(row["method"])
    kept = f"{count(round(row['kept_tokens'], 1))} of {count(row['visual_tokens'])} visual tokens"
    first = f"the first token comes after {milliseconds(row['ms']['ttft']['median'])} ms"
    if row["speedup"] is None or row["method"] == "full":
        return f"{name}, {kept}: {first}"
    speedup = row["speedup"]
    times = f"{speedup['measured']['median']:.2f}× as fast as uncompressed; FLOPs allow {speedup['allowed']:.2f}×"
    return f"{name}, {kept}: {first}, {times}"


def _facts(row: Row) -> list[tuple[str, str]]:
    """What is left of the uncompressed model's cost: (number, of what)."""
    ratios = row["to_full"]
    if ratios is None or row["method"] == "full":
        return []
    peak = ratios["peak_bytes"]
    return [
        (percent(ratios["ms"]["ttft"]), "of the first-token time"),
        (percent(ratios["flops"]), "of the FLOPs up to it"),
        (percent(ratios["ms"]["dialogue"]), "of the dialogue's time"),
        (percent(ratios["kv_bytes"]), "of the KV cache"),
        (NONE if peak is None else percent(peak), "of the peak memory"),
    ]


def _told(pairs: list[tuple[str, Row]]) -> str:
    """The plot in words."""
    lines = [
        f"{name}: time {percent(row['to_full']['ms']['ttft'])} where FLOPs allow {percent(row['to_full']['flops'])}, "
        f"KV cache {percent(row['to_full']['kv_bytes'])}"
        for name, row in pairs
    ]
    return f"Time to the first token and memory relative to the uncompressed model. {'; '.join(lines)}."


def _provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers are from: (what, value)."""
    lines = [(key, str(results[key])) for key in ("model", "parameters", "dtype", "device", "attention", "commit")]
    for key in ("dialogue", "versions", "hardware"):
        lines.extend((str(name), str(value)) for name, value in results[key].items())
    return lines
