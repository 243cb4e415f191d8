"""What a benchmark is: the official files that it is made from, and how they become dialogues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pinhole.data import Dialogue

ONE_WORD = "Answer the question using a single word or phrase."
"""The suffix under which LLaVA-1.5 is evaluated on short answers (arXiv 2310.03744, Table 7)."""

LETTER = "Answer with the option's letter from the given choices directly."
"""The same for multiple choice."""

_Question = TypeVar("_Question")


@dataclass(frozen=True)
class Needed:
    """A file or folder of an official release.

    Attributes:
        what: it is.
        places: where it may be, relative to the source folder; the release's own first.
        release: where the release is found.
    """

    what: str
    places: tuple[str, ...]
    release: str

    def find(self, source: Path) -> Path | None:
        """Where it is, or None."""
        return next((source / place for place in self.places if (source / place).exists()), None)


@dataclass(frozen=True)
class Recipe:
    """What a builder works with.

    Attributes:
        split: one of the task's.
        files: what the task needs, in that order.
        suffix: follows every question; nothing where it is empty.
    """

    split: str
    files: tuple[Path, ...]
    suffix: str

    def asked(self, question: str) -> str:
        """A question as the model reads it."""
        return f"{question}\n{self.suffix}" if self.suffix else question


@dataclass(frozen=True)
class Task:
    """One benchmark.

    Attributes:
        name: on the command line.
        about: one line that says what it is and how it is scored.
        splits: the parts of the release that it can be built from; the first is what papers report.
        suffix: of every question, unless the user gives another.
        max_new_tokens: that its answers need.
        needs: the official files of a split.
        dialogues: makes the dialogues; pictures and videos need not exist yet.
    """

    name: str
    about: str
    splits: tuple[str, ...]
    suffix: str
    max_new_tokens: int
    needs: Callable[[str], tuple[Needed, ...]]
    dialogues: Callable[[Recipe], list[Dialogue]]


def read_json(path: Path, release: str, slim: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """What a JSON file of a release holds.

    Args:
        path: of the file.
        release: where it is found.
        slim: what to keep of each object, from the inside outwards.

    Raises:
        ValueError: it is not JSON, or not all of it is there.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file, object_hook=slim)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}): take it from {release}") from error


def in_threes(
    questions: Iterable[_Question], about: Callable[[_Question], str]
) -> list[tuple[str, int, list[_Question]]]:
    """Three-turn dialogues: questions grouped by what they are about, in source order, floor(q / 3) for each group.

    Args:
        questions: in the order of the source.
        about: the image or video of a question.

    Returns:
        (image or video, number of the dialogue about it, its three questions), groups in the order in which they
        first appear. The q mod 3 last questions of a group are left out.
    """
    groups: dict[str, list[_Question]] = {}
    for question in questions:
        groups.setdefault(about(question), []).append(question)
    return [
        (name, start // 3, group[start : start + 3])
        for name, group in groups.items()
        for start in range(0, len(group) - 2, 3)
    ]
