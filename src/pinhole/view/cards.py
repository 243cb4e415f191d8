"""What is shown of a subject, card by card, however it is drawn: pictures, words, legends, maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pinhole.view.cells import count, percent
from pinhole.view.marks import Key, of_decision, of_relevance
from pinhole.view.paint import Marks
from pinhole.view.panels import Panel, Source, described, panels
from pinhole.view.pictures import layer_usage
from pinhole.view.subject import Decision, Subject

_EDGE = 0.005
"""The share of a picture from which on an edge that is not seen, or seen beyond it, is worth a word."""


@dataclass(frozen=True, eq=False)
class Map:
    """A matrix with a column for each visual token.

    Attributes:
        values: (r, n).
        row: what a row is.
        weight: what a value is.
    """

    values: torch.Tensor
    row: str
    weight: str


@dataclass(frozen=True, eq=False)
class Card:
    """One thing to see.

    Attributes:
        title: what it is.
        words: one line about it.
        panels: its pictures.
        keys: their legend.
        map: of the visual tokens, or None.
    """

    title: str
    words: str
    panels: list[Panel]
    keys: list[Key]
    map: Map | None = None


def first_cards(subject: Subject, source: Source) -> list[Card]:
    """The picture as the encoder sees it, and how relevant its tokens are for the answer."""
    layout = subject.layout
    plain = panels(source, layout, Marks.plain(layout.n))
    cards = [Card(f"The {subject.modality}", f"{count(layout.n)} visual tokens: {described(layout)}", plain, [])]
    for name, values in subject.relevance.items():
        marks, keys = of_relevance(values)
        half = _half(values)
        words = f"half of it lies on {count(half)} token{'s' * (half > 1)}"
        cards.append(Card(name, words, panels(source, layout, marks), keys))
    return cards


def _half(values: torch.Tensor) -> int:
    """The fewest tokens that hold half of the relevance."""
    falling = values.detach().float().cpu().clamp_min(0).sort(descending=True).values.cumsum(0)
    return int((falling < falling[-1] / 2).sum()) + 1


def decision_cards(subject: Subject, source: Source) -> list[tuple[str, list[Card | None]]]:
    """Every keep in words with a card for each method; None where that method has no such keep."""
    rows = []
    for keep in subject.keeps:
        found = {one.method: _card(one, source) for one in subject.decisions if one.keep == keep}
        label = "" if keep is None else f"keep {keep}"
        rows.append((label, [found.get(method) for method in subject.methods]))
    return rows


def _card(decision: Decision, source: Source) -> Card:
    marks, keys = of_decision(decision)
    separators = decision.layout.separators.numpy()
    if separators.any():
        kept = int(marks.outlined[separators].sum())
        keys.append(Key("", f"of these, separators between tiles or rows: {count(kept)} of {count(separators.sum())}"))
    return Card(decision.method, _told(decision), panels(source, decision.layout, marks), keys, _map(decision))


def _told(decision: Decision) -> str:
    """How many visual tokens there are behind the method."""
    n, m = decision.reduction.n, float(decision.reduction.m)
    if decision.cuts:
        m = sum(decision.per_layer()) / decision.layers
        return f"{count(round(m, 1))} of {count(n)} on average over layers ({percent(m / n)})"
    how = "kept" if decision.reduction.weights is None else "left, merged"
    return f"{count(m)} of {count(n)} tokens {how} ({percent(m / n)})"


def _map(decision: Decision) -> Map | None:
    """P, or layers by visual tokens; None where every token is kept, as that is a diagonal."""
    if decision.cuts:
        return Map(layer_usage(decision), "layer", "weight in the layer")
    if decision.reduction.weights is None and decision.reduction.m == decision.reduction.n:
        return None
    return Map(decision.reduction.matrix().detach().float().cpu(), "kept token", "weight in P")


def how_to_read(subjects: Sequence[Subject]) -> list[str]:
    """What a newcomer must know, in sentences, as far as it is shown."""
    decisions = [decision for subject in subjects for decision in subject.decisions]
    inside = any(decision.cuts for decision in decisions)
    merged = any(decision.reduction.weights is not None and not decision.cuts for decision in decisions)
    picked = any(decision.reduction.weights is None and not decision.cuts for decision in decisions)
    lines = ["The LLM reads a picture as visual tokens, each from one cell of a grid. A method lets it read fewer."]
    if picked:
        lines.append("Picked tokens are outlined in white; those left out are dark.")
    if merged:
        lines.append("Merged tokens: the colour says how much each goes into those that are kept.")
    if inside:
        lines.append("Methods inside the LLM: the colour says how many layers a token lives.")
    rows = " or ".join(["a kept token"] * (picked or merged) + ["a layer of the LLM"] * inside)
    lines.append(f"In the map below a picture a column is a visual token, in reading order, and a row is {rows}.")
    boxes = [view.box for subject in subjects for view in subject.layout.views if view.box]
    if any(max(top, left, 1 - bottom, 1 - right) > _EDGE for top, left, bottom, right in boxes):
        lines.append("Dark stripes: the encoder does not see that part.")
    if any(max(-top, -left, bottom - 1, right - 1) > _EDGE for top, left, bottom, right in boxes):
        lines.append("Grey beyond the picture: padding that the encoder sees.")
    if any(subject.relevance for subject in subjects):
        lines.append("Relevance: the colour says how much the uncompressed model's answer rests on a token.")
    return lines
