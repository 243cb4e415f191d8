"""Everything seen of some pictures as one HTML page: it opens offline, prints, and follows light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pinhole.view.cards import Card, decision_cards, first_cards, how_to_read
from pinhole.view.cells import count
from pinhole.view.embed import data_url, inline_svg
from pinhole.view.panels import Source, check_sources
from pinhole.view.pen import arranged
from pinhole.view.pictures import map_figure
from pinhole.view.subject import Subject

_MAP = 4.2
"""Inches across a map: a card is about as wide, so that its words keep their size."""


def write_page(path: str | Path, subjects: Sequence[Subject], sources: Sequence[Source]) -> None:
    """Write one self-contained page: methods in columns, keeps in rows, below the picture and its relevance.

    Args:
        path: of the page; its folder exists.
        subjects: in the order in which they are shown; one at least.
        sources: the pictures and videos that they are of.

    Raises:
        ValueError: other pictures than those.
    """
    check_sources(subjects, sources)
    environment = Environment(
        loader=PackageLoader("pinhole.view", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = [resources.files("pinhole.view").joinpath(name).read_text("utf-8") for name in ("report.css", "view.css")]
    page = environment.get_template("view.html.jinja").render(
        style=Markup("".join(style)),
        headline=_headline(subjects),
        how=how_to_read(subjects),
        sections=[_section(subject, sources[subject.picture], f"s{i}") for i, subject in enumerate(subjects)],
    )
    Path(path).write_text(page, encoding="utf-8")


def _headline(subjects: Sequence[Subject]) -> str:
    methods = list(dict.fromkeys(method for subject in subjects for method in subject.methods))
    by = f"{', '.join(methods[:-1])} and {methods[-1]}" if len(methods) > 1 else methods[0]
    numbers = {subject.layout.n for subject in subjects}
    number = f"{count(numbers.pop())} visual tokens" if len(numbers) == 1 else "the visual tokens"
    return f"What {by} keep{'s' * (len(methods) == 1)} of {number}"


def _section(subject: Subject, source: Source, name: str) -> dict[str, Any]:
    rows: list[tuple[str, Sequence[Card | None]]] = [("", first_cards(subject, source))]
    rows += decision_cards(subject, source)
    shown = [
        (label, [card and _shown(card, f"{name}r{i}c{j}") for j, card in enumerate(cards)])
        for i, (label, cards) in enumerate(rows)
    ]
    columns = max(len(cards) for _, cards in rows)
    return {"name": subject.name, "told": subject.told, "rows": shown, "columns": columns}


def _shown(card: Card, name: str) -> dict[str, Any]:
    drawn = ""
    if card.map is not None and len(card.map.values):
        figure = map_figure(card.map.values, card.map.row, card.map.weight, _MAP)
        drawn = inline_svg(figure, name, f"{card.title}: {card.map.row} by visual token")
    return {
        "title": card.title,
        "words": card.words,
        "columns": arranged(len(card.panels), _MAP)[0],
        "panels": [(data_url(panel.image, "WEBP"), panel.caption) for panel in card.panels],
        "legend": card.keys,
        "map": drawn,
    }
