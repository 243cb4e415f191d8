"""Overlaps on disk: `overlap.json`, written dialogue by dialogue, so that a stopped comparison goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pinhole.data import Dialogue, digest
from pinhole.differences import differences
from pinhole.evaluation.overlap import Overlap, summary
from pinhole.evaluation.results import save


class OverlapFile:
    """`overlap.json` of one comparison.

    Args:
        path: of the file; its folder is made.
        settings: what the overlaps depend on, as JSON values.
        made_with: commit, versions and hardware.

    Raises:
        ValueError: the file holds overlaps that were made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any], made_with: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._head = path, {"settings": settings, **made_with}
        self._records: dict[str, dict[str, Any]] = {}
        if path.exists():
            held = json.loads(path.read_text())
            before = held["settings"]
            if pairs := differences(before, settings):
                raise ValueError(f"{path.parent} holds overlaps of another comparison ({pairs}): give another --out")
            self._records = {record["dialogue"]: record for record in held["dialogues"]}

    def has(self, dialogue: Dialogue) -> bool:
        """Whether this dialogue, as it is now, was compared."""
        return self._records.get(dialogue.id, {}).get("asked") == digest([dialogue])

    def add(self, dialogue: Dialogue, overlaps: list[Overlap], noted: dict[str, float]) -> None:
        """Write one dialogue's overlaps, and numbers that belong to them."""
        images = [{**asdict(overlap), "chance": overlap.chance} for overlap in overlaps]
        self._records[dialogue.id] = {
            "dialogue": dialogue.id,
            "asked": digest([dialogue]),
            "images": images,
            "noted": noted,
        }
        self._write({})

    def finish(self, dialogues: list[Dialogue]) -> dict[str, Any]:
        """Add what these dialogues say together, all of which were compared; return what the file holds."""
        records = [self._records[dialogue.id] for dialogue in dialogues]
        overlaps = [
            [Overlap(image["n"], image["m"], image["kept"], image["shared"]) for image in record["images"]]
            for record in records
        ]
        noted = {name: float(np.mean([record["noted"][name] for record in records])) for name in records[0]["noted"]}
        return self._write({"summary": {"dialogues": len(dialogues), **summary(overlaps), **noted}})

    def _write(self, more: dict[str, Any]) -> dict[str, Any]:
        return save(self._path, {**self._head, **more, "dialogues": [*self._records.values()]})
