"""What the results say, in one sentence."""

from __future__ import annotations

from typing import Any

from pinhole.view.cells import Row, count, full_row, is_judged, method_label, percent, share_kept

_PHRASES = {"full": "the uncompressed model", "sample": "equidistant sampling", "random": "random sampling"}


def leading_row(results: dict[str, Any]) -> Row:
    """The row that a reader should see first: the most accurate method at the strongest compression.

    Sample, which the others are measured against, and the uncompressed model lead only where nothing else was run.
    """
    rows = results["rows"]
    reduced = [row for row in rows if row["method"] != "full"] or rows
    strongest = min(map(share_kept, reduced))
    there = [row for row in reduced if share_kept(row) == strongest]
    return max(there, key=lambda row: (row["method"] != "sample", row["average"]))


def headline(results: dict[str, Any]) -> str:
    """One sentence: what the leading method keeps and how often it is right, beside Sample and the uncompressed model.

    Args:
        results: as `pinhole.view.report.write_report` takes them, with at least one row.
    """
    rows, lead = results["rows"], leading_row(results)
    name = _PHRASES.get(lead["method"]) or method_label(lead["method"])
    reached = (
        f"wins {percent(lead['average'])} of the judge's comparisons with the references"
        if is_judged(rows)
        else f"answers {percent(lead['average'])} of the turns correctly"
    )
    sentence = (
        f"{name[0].upper()}{name[1:]} keeps {count(lead['kept_tokens'])} of {count(lead['visual_tokens'])} "
        f"visual tokens and {reached}"
    )
    sample = next((row for row in rows if row["method"] == "sample" and share_kept(row) == share_kept(lead)), None)
    others = [
        f"{_PHRASES[row['method']]} {percent(row['average'])}"
        for row in (sample, full_row(rows))
        if row is not None and row is not lead
    ]
    return sentence + ("; " + ", ".join(others) if others else "")
