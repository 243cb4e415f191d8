"""The report: one HTML page that says what a method keeps, what it costs and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from pinhole.reduction import Reduction
from pinhole.view.cells import count, full_row, has_recovery, method_label, percent
from pinhole.view.embed import data_url, inline_svg
from pinhole.view.headline import headline, leading_row
from pinhole.view.pictures import accuracy_plot, fit, heat_map, overlay
from pinhole.view.table import kind_table, result_table


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


def write_report(path: str | Path, results: dict[str, Any], pictures: list[Picture]) -> None:
    """Write one self-contained HTML page: it opens offline, prints, and follows the reader's light or dark setting.

    Args:
        path: of the page; its folder exists.
        results: "model", "data", "commit" (texts), "versions", "hardware" (text by name) and "rows", a list of dicts:
            "method" (name in the registry), "settings" (value by name), "keep" (share or count), "visual_tokens" (n),
            "kept_tokens" (m), "accuracy" (one fraction of 1 per turn), "average", "ci95" ([low, high]),
            "delta_to_sample" and "delta_ci95" (fractions of 1, or None), "by_kind" (accuracy by kind of question),
            "flops", "kv_bytes" (numbers) and "ttft_ms" (milliseconds, or None); perhaps "recovery" and "recovery_ci95"
            (a fraction of 1 and [low, high], or None) and "by_size" (accuracy by size of the answer's object).
        pictures: shown in this order.

    Raises:
        ValueError: the results have no rows, or a picture's grid does not fit its reduction.
    """
    environment = Environment(
        loader=PackageLoader("pinhole.view", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        style=Markup(resources.files("pinhole.view").joinpath("report.css").read_text("utf-8")),
        results=results,
        table=result_table(results),
        recovers=has_recovery(results["rows"]),
        kinds=kind_table(results),
        sizes=kind_table(results, "by_size"),
        headline=headline(results),
        facts=_facts(results),
        plot=inline_svg(accuracy_plot(results["rows"]), "plot", "Accuracy against visual tokens kept"),
        pictures=[_shown(picture, f"p{i}") for i, picture in enumerate(pictures)],
        provenance=_provenance(results),
    )
    Path(path).write_text(page, encoding="utf-8")


def _facts(results: dict[str, Any]) -> list[tuple[str, str]]:
    """What the leading row costs beside the uncompressed model: (number, what it is)."""
    row, full = leading_row(results), full_row(results["rows"])
    facts = [(percent(row["kept_tokens"] / row["visual_tokens"]), "of the visual tokens")]
    if full is not None:
        facts.append((percent(row["flops"] / full["flops"]), "of the LLM's FLOPs"))
        facts.append((percent(row["kv_bytes"] / full["kv_bytes"]), "of the KV cache"))
        facts.append((percent(row["average"] / full["average"]), "of the full accuracy"))
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
