"""The report: one HTML page that says what methods keep, what they cost, where they fail and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from pinhole.reduction import Reduction
from pinhole.view.axes import Cost
from pinhole.view.cells import count, full_row, has_recovery, is_judged, labels, method_label, percent, share_kept
from pinhole.view.embed import data_url, inline_svg
from pinhole.view.hardest import Hard
from pinhole.view.headline import headline, leading_row
from pinhole.view.pareto import pareto_front
from pinhole.view.pictures import fit, heat_map, overlay
from pinhole.view.plot import accuracy_plot
from pinhole.view.render import render
from pinhole.view.table import kind_table, result_table, win_table
from pinhole.view.turns import turn_plot


@dataclass(frozen=True, eq=False)
class Picture:
    """One image with what was kept of it.

    Attributes:
        title: what it is, such as the method and the scene.
        image: what the encoder saw.
        reduction: of this image.
        grid: (rows, columns) of its visual tokens.
        captions: one text per turn, say; the first line of each is a heading (question), further lines are details
            (the reference answer, each method's answer).
    """

    title: str
    image: Image.Image
    reduction: Reduction
    grid: tuple[int, int]
    captions: list[str]


def write_report(
    path: str | Path, results: dict[str, Any], pictures: Sequence[Picture] = (), hard: Sequence[Hard] = ()
) -> None:
    """Write one self-contained HTML page: it opens offline, prints, and follows the reader's light or dark setting.

    Args:
        path: of the page; its folder exists.
        results: "model", "data", "commit" (texts), "versions", "hardware" (text by name) and "rows", a list of dicts:
            "method" (name in the registry), "settings" (value by name), "keep" (share or count), "visual_tokens" (n),
            "kept_tokens" (m), "accuracy" (one fraction of 1 per turn), "average", "ci95" ([low, high]),
            "delta_to_sample" and "delta_ci95" (fractions of 1, or None), "by_kind" (accuracy by kind of question),
            "flops", "kv_bytes" (numbers) and "ttft_ms" (milliseconds, or None); perhaps "recovery" and "recovery_ci95"
            (a fraction of 1 and [low, high], or None), "by_size" (accuracy by size of the answer's object) and
            "win_rate" (as `pinhole.evaluation.win_rate.win_rates` has it, with the "judge").
        pictures: shown in this order.
        hard: dialogues that compression spoiled, as `pinhole.view.hardest.hardest` finds them.

    Raises:
        ValueError: the results have no rows, or a picture's grid does not fit its reduction.
    """
    rows, lead = results["rows"], leading_row(results)
    timed = all(row["ttft_ms"] is not None for row in rows) and len(rows) > 1
    turns = turn_plot(rows, share_kept(lead)) if len(lead["accuracy"]) > 1 else None
    render(
        path,
        "report.html.jinja",
        about=[results["model"], results["data"]],
        table=result_table(results),
        recovers=has_recovery(rows),
        judge=next((row["win_rate"]["judge"] for row in rows if "win_rate" in row), None),
        wins=win_table(results),
        kinds=kind_table(results),
        sizes=kind_table(results, "by_size"),
        headline=headline(results),
        facts=_facts(results),
        plots=[_plot(rows, "kept_tokens"), *([_plot(rows, "ttft_ms")] if timed else [])],
        turns=turns and inline_svg(turns, "turns", _turns_told(rows, share_kept(lead))),
        lead=method_label(lead["method"]),
        hard=[(one, [data_url(image, "WEBP") for image in one.images]) for one in hard],
        pictures=[_shown(picture, f"p{i}") for i, picture in enumerate(pictures)],
        provenance=_provenance(results),
    )


def _plot(rows: list[dict[str, Any]], against: Cost) -> tuple[Markup, str]:
    """A plot of accuracy against a cost, and in words what is on its Pareto front, from cheap to dear."""
    points = [
        (row, label)
        for row, label in zip(rows, labels(rows), strict=True)
        if row["method"] != "full" or against == "ttft_ms"
    ]
    unit, name = ("tokens", "visual tokens kept") if against == "kept_tokens" else ("ms", "the time to the first token")
    front = [
        f"{label} ({count(round(row[against], 1))} {unit}, {percent(row['average'])})"
        for row, label in (
            points[i] for i in pareto_front([row[against] for row, _ in points], [row["average"] for row, _ in points])
        )
    ]
    told = f"On the Pareto front: {', '.join(front)}." if front else ""
    drawn = accuracy_plot(rows, against)
    return inline_svg(drawn, f"plot-{against}", f"Accuracy against {name}. {told}".strip()), told


def _turns_told(rows: list[dict[str, Any]], share: float) -> str:
    """The plot of the turns in words."""
    lines = [
        f"{label} {', '.join(map(percent, row['accuracy']))}"
        for row, label in zip(rows, labels(rows), strict=True)
        if row["method"] == "full" or share_kept(row) == share
    ]
    return f"Accuracy turn by turn: {'; '.join(lines)}."


def _facts(results: dict[str, Any]) -> list[tuple[str, str]]:
    """What the leading row costs beside the uncompressed model: (number, what it is)."""
    row, full = leading_row(results), full_row(results["rows"])
    facts = [(percent(row["kept_tokens"] / row["visual_tokens"]), "of the visual tokens")]
    if full is not None:
        facts.append((percent(row["flops"] / full["flops"]), "of the LLM's FLOPs"))
        facts.append((percent(row["kv_bytes"] / full["kv_bytes"]), "of the KV cache"))
        if full["average"]:
            told = "full win rate" if is_judged(results["rows"]) else "full accuracy"
            facts.append((percent(row["average"] / full["average"]), f"of the {told}"))
        if row["ttft_ms"] is not None and full["ttft_ms"] is not None:
            facts.append((percent(row["ttft_ms"] / full["ttft_ms"]), "of the first-token time"))
    return facts


def _shown(picture: Picture, name: str) -> dict[str, Any]:
    reduction, used = picture.reduction, picture.reduction.usage()
    mixture = reduction.weights is not None
    return {
        "title": picture.title,
        "size": f"{count(reduction.m)} of {count(reduction.n)} visual tokens",
        "image": data_url(fit(picture.image)),
        "overlay": data_url(overlay(picture.image, reduction, picture.grid)),
        "most": f"{used.max():.2f}" if mixture else None,
        "heat": inline_svg(heat_map(reduction), name, f"Heat map of P for {picture.title}"),
        "captions": [caption.partition("\n")[::2] for caption in picture.captions],
    }


def _provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers are from: (what, value), with each method's settings at the end."""
    lines = [(key, str(results[key])) for key in ("model", "data", "commit")]
    for key in ("versions", "hardware"):
        lines.extend((str(name), str(value)) for name, value in results[key].items())
    for row in results["rows"]:
        settings = ", ".join(f"{name}={value}" for name, value in (row["settings"] or {}).items())
        if settings:
            line = (f"{method_label(row['method'])} settings", settings)
            lines += [] if line in lines else [line]
    return lines
