"""Dialogues of one's own, a `dialogues.jsonl` that `read_dialogues` reads: checked once, and as Parquet."""

from __future__ import annotations

from dataclasses import replace

from pinhole.data import Dialogue, read_dialogues
from pinhole.tasks.task import Needed, Recipe, Task

NEEDED = (Needed("your dialogues, one JSON object a line", ("dialogues.jsonl",), "you: see docs/benchmarks.md"),)


def _dialogues(recipe: Recipe) -> list[Dialogue]:
    found = read_dialogues(recipe.files[0], videos=True)
    return [
        replace(dialogue, turns=tuple(replace(turn, question=recipe.asked(turn.question)) for turn in dialogue.turns))
        for dialogue in found
    ]


TASK = Task(
    name="dialogues",
    about="your own dialogues.jsonl; exact match unless its turns say otherwise",
    splits=("all",),
    suffix="",
    max_new_tokens=16,
    needs=lambda _: NEEDED,
    dialogues=_dialogues,
)
