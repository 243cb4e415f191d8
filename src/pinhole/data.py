"""Dialogues from files: JSON Lines, built or of `datasets`, checked as a whole before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from PIL import Image

from pinhole.built import DESCRIPTION, read_built
from pinhole.images import ImageSource, load_image

if TYPE_CHECKING:
    from pinhole.videos import Video, VideoSource

_SHOWN = 20

Scoring = Literal["exact", "vqa", "choice", "judge"]
"""How an answer is scored: `pinhole.evaluation.scoring` has one function for each but "judge", which asks a model."""


@dataclass(frozen=True)
class Turn:
    """A question, and what its answer is held against.

    Attributes:
        question: all that the model is asked, a prompt's suffix included.
        answer: the reference answer; a gold history holds it.
        kind: of the question, where the data says.
        references: all answers that count where there are several, such as those of VQA's ten annotators.
        scoring: how an answer is scored.
        note: what a judge is told beside it: what the picture shows, and what matters.
        size: of the object that the answer is about, as a share of the picture, where the data says.
    """

    question: str
    answer: str
    kind: str | None = None
    references: tuple[str, ...] = ()
    scoring: Scoring = "exact"
    note: str | None = None
    size: float | None = None


@dataclass(frozen=True, eq=False)
class Dialogue:
    """Turns about the same images or videos.

    Attributes:
        id: unique in its data set.
        images: where the pictures are; `load_images` reads them.
        turns: at least one.
        videos: where the videos are; `load_videos` reads them.
    """

    id: str
    images: tuple[ImageSource, ...]
    turns: tuple[Turn, ...]
    videos: tuple[VideoSource, ...] = ()

    def load_images(self) -> list[Image.Image]:
        """The pictures as RGB.

        Raises:
            ValueError: one of them cannot be used; the message names it.
        """
        return [load_image(image) for image in self.images]

    def load_videos(self, frames: int | None = None) -> list[Video]:
        """The videos as at most `frames` frames each, `pinhole.videos.FRAMES` unless it is given.

        Raises:
            ValueError: one of them cannot be used; the message names it.
            ImportError: PyAV is not installed.
        """
        from pinhole.videos import FRAMES, load_video

        return [load_video(video, FRAMES if frames is None else frames) for video in self.videos]


def digest(dialogues: list[Dialogue]) -> str:
    """Twelve digits that change when an id, a turn or the number of images or videos of any dialogue does."""
    told = [
        [d.id, len(d.images), [_told(turn) for turn in d.turns], *([len(d.videos)] if d.videos else [])]
        for d in dialogues
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _told(turn: Turn) -> list[Any]:
    more = [turn.scoring, turn.references, turn.note]
    return [turn.question, turn.answer, *(more if more != ["exact", (), None] else [])]


def read_dialogues(source: str | Path, *, videos: bool = False) -> list[Dialogue]:
    """All dialogues of a data set.

    Args:
        source: one of
            a `.jsonl` file whose lines are `{"image": PATH | "images": [PATH, ...], "videos": [PATH, ...], "turns":
            [{"question": ..., "answer": ..., "kind": ..., "references": [...], "scoring": ..., "note": ...}], "id":
            ...}`: an image or a video, the question and the answer are needed; paths are relative to the file;
            a folder that holds such a file as `dialogues.jsonl`;
            a folder that `pinhole data build` wrote;
            a folder written by `datasets.Dataset.save_to_disk` with the same columns.
        videos: whether dialogues may have videos.

    Raises:
        ValueError: nothing there, or bad lines: every one is named with its number and reason; or videos where there
            may be none.
    """
    dialogues = _read(Path(source))
    if not videos and any(dialogue.videos for dialogue in dialogues):
        raise ValueError(f"{source} has dialogues about videos, and only pictures can be used here")
    return dialogues


def _read(path: Path) -> list[Dialogue]:
    if path.is_dir() and (path / "dialogues.jsonl").is_file():
        path = path / "dialogues.jsonl"
    if path.is_file():
        return _collect(_lines(path), str(path), path.parent)
    if (path / DESCRIPTION).is_file():
        rows, files = read_built(path)
        return _collect(enumerate(rows, 1), str(path), files)
    if path.is_dir() and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        import datasets

        table = datasets.load_from_disk(str(path))
        if isinstance(table, datasets.DatasetDict):
            names = ", ".join(str(path / name) for name in table)
            raise ValueError(f"{path} holds several splits; name one: {names}")
        return _collect(enumerate(table, 1), str(path), path)
    raise ValueError(
        f"no dialogues at {path}: give a .jsonl file, a folder with dialogues.jsonl, one that `pinhole data build` "
        "wrote, or a datasets folder"
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
    images = _pictures(row)
    videos = row.get("videos") or []
    if not isinstance(videos, list) or not images + videos:
        raise ValueError('give either "image" or "images", or "videos"; a list is not empty')
    turns = row.get("turns")
    if not isinstance(turns, list) or not turns:
        raise ValueError('"turns" is a non-empty list')
    return Dialogue(
        str(row.get("id", number)),
        tuple(image if isinstance(image, Image.Image) else _file(image, folder, "image") for image in images),
        tuple(_turn(t) for t in turns),
        tuple(_file(video, folder, "video") for video in videos),
    )


def _pictures(row: dict[str, Any]) -> list[Any]:
    image, images = row.get("image"), row.get("images")
    if image is not None and images is not None:
        raise ValueError('give either "image" or "images"')
    if image is not None:
        return [image]
    if not isinstance(images or [], list):
        raise ValueError('"images" is a list')
    return images or []


def _file(name: Any, folder: Path, kind: str) -> Path:
    if not isinstance(name, str) or not name:
        raise ValueError(f"the {kind} is a path, got {name!r}")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"no {kind} file at {path}")
    if not path.stat().st_size:
        raise ValueError(f"the {kind} file {path} is empty")
    return path


def _turn(turn: Any) -> Turn:
    if not isinstance(turn, dict):
        raise ValueError(f"a turn is an object, got {turn!r}")
    for field in ("question", "answer"):
        if not isinstance(turn.get(field), str) or not turn[field].strip():
            raise ValueError(f'a turn needs a non-empty "{field}", got {turn.get(field)!r}')
    references: Any = turn.get("references") or []
    scoring: Any = turn.get("scoring") or "exact"
    if not isinstance(references, list) or not all(isinstance(reference, str) for reference in references):
        raise ValueError(f'"references" is a list of texts, got {references!r}')
    if scoring not in get_args(Scoring):
        raise ValueError(f'"scoring" is one of {", ".join(get_args(Scoring))}, got {scoring!r}')
    kind, note = (None if turn.get(name) is None else str(turn[name]) for name in ("kind", "note"))
    size = turn.get("size")
    if size is not None and not (isinstance(size, int | float) and 0 < size <= 1):
        raise ValueError(f'"size" is a share of the picture, above 0 and up to 1, got {size!r}')
    return Turn(turn["question"], turn["answer"], kind, tuple(references), scoring, note, size)
