"""Answers on disk, written as they come by any number of processes, so that a stopped run goes on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pinhole.data import Dialogue, digest
from pinhole.differences import differences

_PARTS = "answers-*.jsonl"
UNTOLD = {"engine": "transformers"}
"""What `evaluation.json` of an older Pinhole leaves out."""


@dataclass(frozen=True)
class Answered:
    """One dialogue, answered under one method.

    Attributes:
        method: key of the contender, settings and weights included.
        dialogue: its id.
        asked: digest of the dialogue, which may have changed since.
        answers: the model's words, one for each turn.
        correct: how right each is, from 0 to 1; empty until a judge said so where one scores them.
        images: [visual tokens, kept tokens] of each image and video.
        text_tokens: tokens of the first turn's prompt that are not visual.
    """

    method: str
    dialogue: str
    asked: str
    answers: list[str]
    correct: list[float]
    images: list[list[int]]
    text_tokens: int


def read_answers(path: Path) -> dict[tuple[str, str], Answered]:
    """What `answers.jsonl` holds, by (method, dialogue); of a dialogue that changed, the latest answers."""
    return {(record.method, record.dialogue): record for record in _records(path)}


class AnswerFile:
    """The answers of one evaluation: `answers.jsonl`, one JSON line a dialogue and method.

    Until `merge` makes that file, each process adds to one of its own, `answers-RANK.jsonl`, one line a batch: one that
    is killed leaves a batch whole or not at all. Whatever any process wrote counts, however many there were.

    Args:
        out: the evaluation's folder; it is made.
        settings: what the answers depend on beside the method, as JSON values.
        rank: the number of this process among those that write together.

    Raises:
        ValueError: the folder holds answers that were made with other settings.

    Attributes:
        folder: `out`.
    """

    def __init__(self, out: Path, settings: dict[str, Any], rank: int = 0) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.folder = out
        self._whole, self._part = out / "answers.jsonl", out / f"answers-{rank:04d}.jsonl"
        described = out / "evaluation.json"
        if described.exists():
            before = json.loads(described.read_text())
            if pairs := differences(UNTOLD | before, UNTOLD | settings):
                raise ValueError(f"{out} holds answers of another evaluation ({pairs}): give another --out")
        if rank == 0:
            _write(described, json.dumps(settings, indent=2) + "\n")
        self._done = {_key(record) for record in self._all()}
        if self._part.exists():
            _drop_cut_line(self._part)

    def has(self, method: str, dialogue: Dialogue) -> bool:
        """Whether this dialogue, as it is now, was answered under this method."""
        return (method, dialogue.id, digest([dialogue])) in self._done

    def add(self, records: list[Answered]) -> None:
        """Append the records of a batch and hand them to the disk."""
        with self._part.open("a") as file:
            file.write(json.dumps([asdict(record) for record in records]) + "\n")
        self._done |= {_key(record) for record in records}

    def merge(self, methods: list[str], dialogues: list[Dialogue]) -> dict[tuple[str, str], Answered]:
        """Gather what all processes wrote into `answers.jsonl`; none may write any more.

        New lines follow those that were there, in the order of the methods and of the dialogues.

        Returns:
            the answers to the dialogues as they are now, by (method, dialogue).
        """
        records = {_key(record): record for record in self._all()}
        if parts := sorted(self.folder.glob(_PARTS)):
            old = [_key(record) for record in _records(self._whole)]
            asked = itertools.product(methods, [dialogue.id for dialogue in dialogues])
            places = {pair: place for place, pair in enumerate(asked)}
            new = sorted(records.keys() - {*old}, key=lambda key: (places.get(key[:2], len(places)), key))
            _write(self._whole, "".join(json.dumps(asdict(records[key])) + "\n" for key in [*old, *new]))
            for part in parts:
                part.unlink()
        now = {dialogue.id: digest([dialogue]) for dialogue in dialogues}
        return {(method, name): record for (method, name, asked), record in records.items() if now.get(name) == asked}

    def rescore(self, answered: Mapping[tuple[str, str], Answered]) -> None:
        """Write the scores that a judge gave into `answers.jsonl`, after `merge`."""
        lines = []
        for record in _records(self._whole):
            judged = answered.get((record.method, record.dialogue))
            lines.append(judged if judged and judged.asked == record.asked else record)
        _write(self._whole, "".join(json.dumps(asdict(record)) + "\n" for record in lines))

    def _all(self) -> Iterator[Answered]:
        for path in (self._whole, *sorted(self.folder.glob(_PARTS))):
            yield from _records(path)


def _key(record: Answered) -> tuple[str, str, str]:
    return record.method, record.dialogue, record.asked


def _records(path: Path) -> Iterator[Answered]:
    """The records of a file, one or a list of them a line; a last line that was cut short is passed over."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for line in lines:
        if line.endswith(b"\n"):
            read = json.loads(line)
            yield from (Answered(**record) for record in (read if isinstance(read, list) else [read]))


def _drop_cut_line(path: Path) -> None:
    """Cut a file behind its last whole line: a process that was killed may have left half of one."""
    content = path.read_bytes()
    with path.open("rb+") as file:
        file.truncate(content.rfind(b"\n") + 1)


def _write(path: Path, text: str) -> None:
    """A file whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text)
    partial.replace(path)
