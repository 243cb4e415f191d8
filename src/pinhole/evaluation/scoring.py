"""When an answer is right, as a number from 0 to 1."""

from __future__ import annotations

import re
from collections.abc import Callable

from pinhole.data import Scoring, Turn
from pinhole.evaluation.vqa import vqa_accuracy

_ARTICLES = {"a", "an", "the"}
_LETTER = re.compile(r"\(?([A-Z])(?:$|[).:,](?!\w))")
_SAID = re.compile(r"\b(?i:answer|option|choice)\b(?:\s+is)?\W*\(?([A-Z])\b(?!')")


def normalize(text: str) -> str:
    """Lowercase, punctuation to spaces, without articles, single spaces: as VQA scores are taken."""
    words = re.sub(r"[^\w\s]", " ", text.lower()).replace("_", " ").split()
    return " ".join(word for word in words if word not in _ARTICLES)


def exact_match(answer: str, reference: str) -> bool:
    """Whether both say the same after `normalize`; MT-GQA's score."""
    return normalize(answer) == normalize(reference)


def chosen_letter(answer: str) -> str | None:
    """The option that an answer to a multiple-choice question names: "B", "(B)", "B. Two", "The answer is B".

    None where it names none. A capital within a sentence ("A dog is ...") names none.
    """
    text = answer.strip()
    if re.fullmatch(r"\(?[a-z]\)?[.:]?", text):
        text = text.upper()
    found = _LETTER.match(text) or _SAID.search(text)
    return found[1] if found else None


def choice(answer: str, turn: Turn) -> bool:
    """Whether an answer names the right option, by its letter or by all of its words; Video-MME's score.

    Args:
        answer: the model's.
        turn: its `answer` is the letter, its one reference the option, with or without the letter before it.
    """
    letter = chosen_letter(answer)
    if letter is not None:
        return letter == turn.answer
    words = [re.sub(rf"^\(?{re.escape(turn.answer)}[).:]\s*", "", option) for option in turn.references]
    return any(exact_match(answer, option) for option in words)


_SCORERS: dict[Scoring, Callable[[str, Turn], float]] = {
    "exact": lambda answer, turn: any(exact_match(answer, known) for known in (turn.answer, *turn.references)),
    "vqa": lambda answer, turn: vqa_accuracy(answer, turn.references or (turn.answer,)),
    "choice": choice,
}


def score(answer: str, turn: Turn) -> float:
    """How right an answer is, from 0 to 1; True or False where there is nothing between.

    Raises:
        ValueError: a judge scores this turn.
    """
    if turn.scoring == "judge":
        raise ValueError("a judge scores this turn: see pinhole.evaluation.judge")
    return _SCORERS[turn.scoring](answer, turn)
