"""A built data set: `dialogues.parquet`, and `dataset.json`, which says what it was made from and has its checksum."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DIALOGUES, DESCRIPTION = "dialogues.parquet", "dataset.json"

_TURN = {
    "question": pa.string(),
    "answer": pa.string(),
    "kind": pa.string(),
    "references": pa.list_(pa.string()),
    "scoring": pa.string(),
    "note": pa.string(),
    "size": pa.float64(),
}
_PATHS = pa.list_(pa.string())
SCHEMA = pa.schema(
    {"id": pa.string(), "images": _PATHS, "videos": _PATHS, "turns": pa.list_(pa.struct(list(_TURN.items())))}
)
"""One row a dialogue; paths are relative to the folder that the pictures and videos are in."""


def checksum(rows: list[dict[str, Any]]) -> str:
    """SHA-256 of the rows' content, the same whatever wrote the Parquet file and wherever the pictures lie."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update((json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return digest.hexdigest()


def write_built(out: Path, rows: list[dict[str, Any]], files: Path, description: dict[str, Any]) -> dict[str, Any]:
    """Write a data set, whole or not at all: `dataset.json` comes last, and each file under a temporary name first.

    Args:
        out: folder; it is made.
        rows: as `SCHEMA`.
        files: folder that the paths in `rows` are relative to. It is noted relative to `out`.
        description: what else `dataset.json` says.

    Returns:
        what it says.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    partial = out / f"{DIALOGUES}.part"
    pq.write_table(table, partial)
    partial.replace(out / DIALOGUES)
    where = os.path.relpath(files.resolve(), out.resolve())
    told = {**description, "files": where, "dialogues": len(rows), "sha256": checksum(table.to_pylist())}
    partial = out / f"{DESCRIPTION}.part"
    partial.write_text(json.dumps(told, indent=2) + "\n")
    partial.replace(out / DESCRIPTION)
    return told


def description_of(folder: Path) -> dict[str, Any] | None:
    """What `dataset.json` says; None where no data set was built."""
    path = folder / DESCRIPTION
    return json.loads(path.read_text()) if path.is_file() else None


def read_built(folder: Path) -> tuple[list[dict[str, Any]], Path]:
    """The rows of a data set, and the folder that their paths are relative to.

    Raises:
        ValueError: there is none, or it was changed after it was built.
    """
    told = description_of(folder)
    if told is None or not (folder / DIALOGUES).is_file():
        raise ValueError(f"{folder} has no {DESCRIPTION} with {DIALOGUES}: build it with `pinhole data build`")
    try:
        rows = pq.read_table(folder / DIALOGUES).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{folder / DIALOGUES} is damaged ({error}): build it again into a new folder") from error
    if checksum(rows) != told["sha256"]:
        raise ValueError(
            f"{folder / DIALOGUES} is not what {DESCRIPTION} says it is (another SHA-256): build it again into a new "
            "folder"
        )
    return rows, folder / told["files"]
