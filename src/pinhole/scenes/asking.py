"""What the embedded worlds' questions have in common: what one is, and dialogues about different things of a scene."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pinhole.scenes.world import SIDE

MARGIN = 8
"""Nothing is asked about a place nearer than this many pixels to the line that decides the answer."""


@dataclass(frozen=True)
class Question:
    """One question, its answer, its kind, and the indices of the things it is about."""

    text: str
    answer: str
    kind: str
    about: frozenset[int]


Kinds = Mapping[str, Callable[[Any, int, random.Random], Question | None]]
"""By kind, what asks about thing i of a scene's things, or does not where the answer would not be clear."""


class Askable(Protocol):
    """A scene of any world: things, and random numbers that belong to it."""

    @property
    def things(self) -> tuple[Any, ...]: ...  # noqa: D102

    def generator(self, purpose: str) -> random.Random: ...  # noqa: D102


def place(x: float, y: float) -> str:
    """The quarter of the picture that holds a point, in words."""
    return f"{'top' if y < SIDE / 2 else 'bottom'} {'left' if x < SIDE / 2 else 'right'}"


def clearly_placed(x: float, y: float) -> bool:
    """Whether a point is far enough from the lines between the quarters."""
    return min(abs(x - SIDE / 2), abs(y - SIDE / 2)) >= MARGIN


def ask(
    table: Kinds, things: Sequence[Any], rng: random.Random, busy: frozenset[int], kinds: Sequence[str] | None
) -> Question | None:
    """One question about things that are not `busy`, of the first of `kinds` that the things allow; None without any.

    Without `kinds` those of the table are tried in random order.
    """
    free = [i for i in range(len(things)) if i not in busy]
    for kind in rng.sample(list(table), len(table)) if kinds is None else kinds:
        for i in rng.sample(free, len(free)):
            question = table[kind](things, i, rng)
            if question and not question.about & busy:
                return question
    return None


def dialogue(
    table: Kinds, scene: Askable, turns: int, number: int, kinds: Sequence[str] | None
) -> list[Question] | None:
    """`turns` questions about different things of one scene, or None where the scene has too few to ask about.

    `number` makes further dialogues about the same scene; `kinds` are those that are asked, all of them by default.
    """
    rng = scene.generator(f"dialogue/{number}")
    asked: list[Question] = []
    for _ in range(turns):
        busy: frozenset[int] = frozenset().union(*(q.about for q in asked))
        question = ask(table, scene.things, rng, busy, None if kinds is None else rng.sample(kinds, len(kinds)))
        if question is None or any(question.text == other.text for other in asked):
            return None
        asked.append(question)
    return asked
