"""The dialogues that compression spoiled: where the leading method fails and the uncompressed model does not."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pinhole.data import Dialogue, digest
from pinhole.evaluation.answers import Answered
from pinhole.images import load_image
from pinhole.view.cells import Row, full_row, labels, share_kept
from pinhole.view.headline import leading_row

MOST = 6
RIGHT = 0.5
"""An answer counts as right from this score on: VQA and judges give shares."""
_PIXELS = 512
"""Longer side of a picture that is shown."""
_PICTURES = 4
_LETTERS = 400
"""Of a question or an answer; the rest is left out."""


@dataclass(frozen=True)
class Said:
    """One answer: whose it is, its words, and whether it is right."""

    who: str
    text: str
    right: bool


@dataclass(frozen=True)
class Asked:
    """One turn: what was asked, the reference answer, and what everyone said."""

    question: str
    reference: str
    said: list[Said]


@dataclass(frozen=True, eq=False)
class Hard:
    """One dialogue of which the leading method lost turns.

    Attributes:
        title: its id.
        lost: how many turns it answered wrong and the uncompressed model right.
        images: its first pictures, scaled down; none that cannot be read.
        more: how many more pictures and videos it is about.
        turns: all of them.
    """

    title: str
    lost: int
    images: list[Image.Image]
    more: int
    turns: list[Asked]


def hardest(
    results: dict[str, Any],
    dialogues: Sequence[Dialogue],
    answered: Mapping[tuple[str, str], Answered],
    most: int = MOST,
) -> list[Hard]:
    """The dialogues with the most turns that the leading method got wrong and the uncompressed model right.

    Of equal ones those come first in which it lost more of the score, then those that the data has first. Shown are the
    answers of the uncompressed model, of the leading method and of all at the same keep. No model is needed.

    Args:
        results: of an evaluation, whose rows name their `contender`.
        dialogues: that were held.
        answered: by (contender, dialogue), as `pinhole.evaluation.answers.read_answers` gives them; a dialogue that
            changed since is passed over.
        most: how many dialogues at most.

    Returns:
        nothing where the uncompressed model was not run, or nothing was lost.
    """
    rows, lead = results["rows"], leading_row(results)
    full = full_row(rows)
    if full is None or lead["method"] == "full":
        return []
    first = [full, lead]
    shown = first + [
        row for row in rows if share_kept(row) == share_kept(lead) and not any(row is one for one in first)
    ]
    names = {row["contender"]: label for row, label in zip(rows, labels(rows), strict=True)}
    found = []
    for place, dialogue in enumerate(dialogues):
        records = _answers(shown, dialogue, answered)
        if records:
            whole, reduced = records[0].correct, records[1].correct
            lost = sum(a >= RIGHT > b for a, b in zip(whole, reduced, strict=True))
            found.append((-lost, sum(reduced) - sum(whole), place))
    spoiled = [(-lost, dialogues[place]) for lost, _, place in sorted(found) if lost][:most]
    who = [names[row["contender"]] for row in shown]
    return [_hard(dialogue, lost, who, _answers(shown, dialogue, answered)) for lost, dialogue in spoiled]


def _answers(rows: Sequence[Row], dialogue: Dialogue, answered: Mapping[tuple[str, str], Answered]) -> list[Answered]:
    """The answers of each row to a dialogue; nothing where one has none to it as it is now."""
    found = [answered.get((row["contender"], dialogue.id)) for row in rows]
    now = digest([dialogue])
    records = [record for record in found if record is not None and record.asked == now]
    return records if len(records) == len(rows) else []


def _hard(dialogue: Dialogue, lost: int, who: Sequence[str], records: Sequence[Answered]) -> Hard:
    images = _pictures(dialogue)
    turns = [
        Asked(
            _short(turn.question),
            _short(turn.answer),
            [
                Said(name, _short(record.answers[i]), record.correct[i] >= RIGHT)
                for name, record in zip(who, records, strict=True)
            ],
        )
        for i, turn in enumerate(dialogue.turns)
    ]
    return Hard(dialogue.id, lost, images, len(dialogue.images) + len(dialogue.videos) - len(images), turns)


def _pictures(dialogue: Dialogue) -> list[Image.Image]:
    """The first pictures, scaled down; the file of one may be gone since."""
    images = []
    for source in dialogue.images[:_PICTURES]:
        try:
            image = load_image(source)
        except (OSError, ValueError):
            continue
        image.thumbnail((_PIXELS, _PIXELS))
        images.append(image)
    return images


def _short(text: str) -> str:
    return textwrap.shorten(text, _LETTERS, placeholder=" …")
