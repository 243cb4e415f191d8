"""Answers on disk: one JSON line a dialogue and method, written as they come, so that a stopped run goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pinhole.data import Dialogue, digest
from pinhole.differences import differences


@dataclass(frozen=True)
class Answered:
    """One dialogue, answered under one method.

    Attributes:
        method: key of the contender, settings and weights included.
        dialogue: its id.
        asked: digest of the dialogue, which may have changed since.
        answers: the model's words, one for each turn.
        correct: whether each is right.
        images: [visual tokens, kept tokens] of each image.
        text_tokens: tokens of the first turn's prompt that are not visual.
    """

    method: str
    dialogue: str
    asked: str
    answers: list[str]
    correct: list[bool]
    images: list[list[int]]
    text_tokens: int


def read_answers(path: Path) -> dict[tuple[str, str], Answered]:
    """What an answers file holds, by (method, dialogue); a last line that was cut short is passed over."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    records = (Answered(**json.loads(line)) for line in lines if line.endswith(b"\n"))
    return {(record.method, record.dialogue): record for record in records}


class AnswerFile:
    """`answers.jsonl` of one evaluation.

    Args:
        out: the evaluation's folder; it is made.
        settings: what the answers depend on beside the method, as JSON values.

    Raises:
        ValueError: the folder holds answers that were made with other settings.
    """

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path = out / "answers.jsonl"
        described = out / "evaluation.json"
        if described.exists():
            before = json.loads(described.read_text())
            if pairs := differences(before, settings):
                raise ValueError(f"{out} holds answers of another evaluation ({pairs}): give another --out")
        described.write_text(json.dumps(settings, indent=2) + "\n")
        self.answered = read_answers(self._path)
        if self._path.exists():
            self._drop_cut_line()

    def has(self, method: str, dialogue: Dialogue) -> bool:
        """Whether this dialogue, as it is now, was answered under this method."""
        record = self.answered.get((method, dialogue.id))
        return record is not None and record.asked == digest([dialogue])

    def _drop_cut_line(self) -> None:
        """Cut the file behind its last whole line: a process that was killed may have left half of one."""
        content = self._path.read_bytes()
        with self._path.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)

    def add(self, records: list[Answered]) -> None:
        """Append records and hand them to the disk."""
        with self._path.open("a") as file:
            file.writelines(json.dumps(asdict(record)) + "\n" for record in records)
        self.answered.update({(record.method, record.dialogue): record for record in records})
