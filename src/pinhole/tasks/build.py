"""Builds a benchmark from its official files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pinhole.built import description_of, read_built, write_built
from pinhole.data import Dialogue
from pinhole.differences import differences
from pinhole.tasks.task import Needed, Recipe, Task

_SHOWN = 5


def build(task: Task, source: Path, out: Path, split: str | None = None, suffix: str | None = None) -> dict[str, Any]:
    """Build a data set that `read_dialogues` reads, or find it built already.

    The same files give the same checksum everywhere. Pictures and videos stay where they are.

    Args:
        task: the benchmark.
        source: folder with the official files.
        out: folder for `dialogues.parquet` and `dataset.json`.
        split: one of the task's; the first unless given.
        suffix: of every question; the task's own unless given, and none where it is empty.

    Returns:
        what `dataset.json` says.

    Raises:
        ValueError: files are missing or not the official ones, or `out` holds another data set.
    """
    source, split = source.resolve(), split or task.splits[0]
    if split not in task.splits:
        raise ValueError(f"{task.name} has the split(s) {', '.join(task.splits)}, got {split!r}")
    suffix = task.suffix if suffix is None else suffix
    asked = {"task": task.name, "split": split, "suffix": suffix}
    if (told := description_of(out)) is not None:
        if pairs := differences({name: told.get(name) for name in asked}, asked):
            raise ValueError(f"{out} holds another data set ({pairs}): give another --out")
        read_built(out)
        return told
    needed = task.needs(split)
    dialogues = task.dialogues(Recipe(split, _found(task, split, needed, source), suffix))
    if not dialogues:
        raise ValueError(f"{source} gives no dialogues for {task.name}")
    _check_files(dialogues, needed[-1])
    return write_built(out, [_row(dialogue, source) for dialogue in dialogues], source, asked)


def _found(task: Task, split: str, needed: tuple[Needed, ...], source: Path) -> tuple[Path, ...]:
    found = [entry.find(source) for entry in needed]
    missing = [entry for entry, path in zip(needed, found, strict=True) if path is None]
    if missing:
        lines = [f"  {' or '.join(entry.places)}: {entry.what}, from {entry.release}" for entry in missing]
        raise ValueError("\n".join([f"to build {task.name} ({split}), {source} lacks", *lines]))
    return tuple(path for path in found if path is not None)


def _check_files(dialogues: list[Dialogue], pictures: Needed) -> None:
    files = list(dict.fromkeys(Path(str(path)) for d in dialogues for path in (*d.images, *d.videos)))
    missing = [path for path in files if not path.is_file() or not path.stat().st_size]
    if missing:
        shown = [f"  {path}" for path in missing[:_SHOWN]]
        more = [f"  and {len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
        head = f"{len(missing)} of {len(files)} files of {pictures.what} are missing or empty; from {pictures.release}:"
        raise ValueError("\n".join([head, *shown, *more]))


def _row(dialogue: Dialogue, source: Path) -> dict[str, Any]:
    turns = [
        {
            "question": turn.question,
            "answer": turn.answer,
            "kind": turn.kind,
            "references": list(turn.references),
            "scoring": turn.scoring,
            "note": turn.note,
            "size": turn.size,
        }
        for turn in dialogue.turns
    ]
    images, videos = (
        [Path(os.path.relpath(str(path), source)).as_posix() for path in paths]
        for paths in (dialogue.images, dialogue.videos)
    )
    return {"id": dialogue.id, "images": images, "videos": videos, "turns": turns}
