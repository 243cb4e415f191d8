"""Everything seen of some pictures as one figure: methods in columns, keeps in rows."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from pinhole.view.cards import Card, decision_cards, first_cards, how_to_read
from pinhole.view.panels import Source, check_sources
from pinhole.view.pen import MUTED_INK, Pen, card_height
from pinhole.view.subject import Subject

WIDTH, WIDER = 3.1, 4.6
"""Inches across a card, with one picture in each and with several."""
DPI = 110
_GAP, _MARGIN, _LABEL, _HOW_LINE = 0.28, 0.25, 0.3, 0.18
Row = tuple[str, Sequence[Card | None]]


def draw_sheet(subjects: Sequence[Subject], sources: Sequence[Source]) -> Figure:
    """The figure: for each subject a row with the picture and its relevance, then one for each keep.

    Args:
        subjects: in the order in which they are drawn; one at least.
        sources: the pictures and videos that they are of.

    Raises:
        ValueError: other pictures than those.
    """
    check_sources(subjects, sources)
    width = WIDER if any(len(subject.layout.views) > 1 for subject in subjects) else WIDTH
    blocks = [_block(subject, sources[subject.picture]) for subject in subjects]
    columns = max(len(blocks[0][0][1]) + 1, *(len(cards) for block in blocks for _, cards in block))
    across = 2 * _MARGIN + _LABEL + columns * (width + _GAP) - _GAP
    how = "\n\n".join(textwrap.fill(line, round(13.5 * width)) for line in how_to_read(subjects))
    heads = [_head(subject, across) for subject in subjects]
    down = sum(_head_height(head) for head in heads)
    heights = [[_row_height(row, width) for row in block] for block in blocks]
    heights[0][0] = max(heights[0][0], 0.3 + _HOW_LINE * (how.count("\n") + 1) + _GAP)
    down += 2 * _MARGIN - _GAP + sum(map(sum, heights))
    figure = Figure(figsize=(across, down), dpi=DPI, facecolor="white")
    pen, left, top = Pen(figure, width), _MARGIN + _LABEL, _MARGIN
    place = left + len(blocks[0][0][1]) * (width + _GAP), top + _head_height(heads[0])
    pen.write(*place, "How to read this", fontsize=11, weight="bold")
    pen.write(place[0], place[1] + 0.3, how, linespacing=1.35)
    for head, block, falls in zip(heads, blocks, heights, strict=True):
        pen.write(left, top, head[0], fontsize=14, weight="bold")
        pen.write(left, top + 0.3, "\n".join(head[1:]), fontsize=11)
        top += _head_height(head)
        for row, height in zip(block, falls, strict=True):
            _draw_row(pen, row, top, height - _GAP, width)
            top += height
    return figure


def _block(subject: Subject, source: Source) -> list[Row]:
    return [("", first_cards(subject, source)), *decision_cards(subject, source)]


def _head(subject: Subject, across: float) -> list[str]:
    """The name, then what was asked and answered."""
    lines = [textwrap.wrap(words, round(11 * across)) for words in subject.told]
    return [subject.name, *itertools.chain.from_iterable(lines)]


def _head_height(head: Sequence[str]) -> float:
    return 0.42 + 0.19 * (len(head) - 1)


def _row_height(row: Row, width: float) -> float:
    return max(card_height(card, width) for card in row[1] if card) + _GAP


def _draw_row(pen: Pen, row: Row, top: float, height: float, width: float) -> None:
    label, cards = row
    if label:
        pen.write(_MARGIN, top + height / 2, label, fontsize=12, weight="bold", rotation=90, va="center")
    for number, card in enumerate(cards):
        place = _MARGIN + _LABEL + number * (width + _GAP)
        if card:
            pen.card(card, place, top)
        else:
            pen.write(place, top, "The same at every keep: see above.", color=MUTED_INK)
