"""Dialogues from files: JSON Lines or a `datasets` folder, checked as a whole before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pinhole.images import ImageSource, load_image

_SHOWN = 20


@dataclass(frozen=True)
class Turn:
    """A question, the reference answer, and what kind of question it is, where the data says."""

    question: str
    answer: str
    kind: str | None = None


@dataclass(frozen=True, eq=False)
class Dialogue:
    """Turns about the same images.

    Attributes:
        id: unique in its data set.
        images: where the pictures are; `load_images` reads them.
        turns: at least one.
    """

    id: str
    images: tuple[ImageSource, ...]
    turns: tuple[Turn, ...]

    def load_images(self) -> list[Image.Image]:
        """The pictures as RGB.

        Raises:
            ValueError: one of them cannot be used; the message names it.
        """
        return [load_image(image) for image in self.images]


def digest(dialogues: list[Dialogue]) -> str:
    """Twelve digits that change when an id, a turn or the number of images of any dialogue does."""
    told = [[d.id, len(d.images), [[t.question, t.answer] for t in d.turns]] for d in dialogues]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def read_dialogues(source: str | Path) -> list[Dialogue]:
    """All dialogues of a data set.

    Args:
        source: a `.jsonl` file whose lines are `{"image": PATH | "images": [PATH, ...], "turns": [{"question": ...,
            "answer": ..., "kind": ...}], "id": ...}` (`kind` and `id` are optional, image paths are relative to the
            file), a folder that holds such a file as `dialogues.jsonl`, or a folder written by
            `datasets.Dataset.save_to_disk` with the same columns.

    Raises:
        ValueError: nothing there, or bad lines: every one is named with its number and reason.
    """
    path = Path(source)
    if path.is_dir() and (path / "dialogues.jsonl").is_file():
        path = path / "dialogues.jsonl"
    if path.is_file():
        return _collect(_lines(path), str(path), path.parent)
    if path.is_dir() and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        import datasets

        table = datasets.load_from_disk(str(path))
        if isinstance(table, datasets.DatasetDict):
            names = ", ".join(str(path / name) for name in table)
            raise ValueError(f"{path} holds several splits; name one: {names}")
        return _collect(enumerate(table, 1), str(path), path)
    raise ValueError(
        f"no dialogues at {source}: give a .jsonl file, a folder with dialogues.jsonl, or a datasets folder"
    )


def _lines(path: Path) -> Iterable[tuple[int, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                yield number, ValueError(f"not JSON ({error.msg} at column {error.colno})")


def _collect(rows: Iterable[tuple[int, Any]], name: str, folder: Path) -> list[Dialogue]:
    dialogues: list[Dialogue] = []
    bad: list[str] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        try:
            dialogue = _dialogue(row, number, folder)
            if dialogue.id in seen:
                raise ValueError(f"id {dialogue.id!r} is taken by line {seen[dialogue.id]}")
            seen[dialogue.id] = number
            dialogues.append(dialogue)
        except ValueError as error:
            bad.append(f"  line {number}: {error}")
    if bad:
        more = [f"  and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        raise ValueError("\n".join([f"{len(bad)} bad line(s) in {name}:", *bad[:_SHOWN], *more]))
    if not dialogues:
        raise ValueError(f"{name} holds no dialogues")
    return dialogues


def _dialogue(row: Any, number: int, folder: Path) -> Dialogue:
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    if (row.get("image") is None) == (row.get("images") is None):
        raise ValueError('give either "image" or "images"')
    images = [row["image"]] if row.get("image") is not None else row["images"]
    if not isinstance(images, list) or not images:
        raise ValueError('"images" is a non-empty list')
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns:
        raise ValueError('"turns" is a non-empty list')
    return Dialogue(
        str(row.get("id", number)), tuple(_image(image, folder) for image in images), tuple(_turn(t) for t in turns)
    )


def _image(image: Any, folder: Path) -> ImageSource:
    if isinstance(image, Image.Image):
        return image
    if not isinstance(image, str) or not image:
        raise ValueError(f"an image is a path, got {image!r}")
    path = folder / image
    if not path.is_file():
        raise ValueError(f"no image file at {path}")
    if not path.stat().st_size:
        raise ValueError(f"the image file {path} is empty")
    return path


def _turn(turn: Any) -> Turn:
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is an object, got {turn!r}")
    for field in ("question", "answer"):
        if not isinstance(turn.get(field), str) or not turn[field].strip():
            raise ValueError(f'a turn needs a non-empty "{field}", got {turn.get(field)!r}')
    kind = turn.get("kind")
    return Turn(turn["question"], turn["answer"], None if kind is None else str(kind))
