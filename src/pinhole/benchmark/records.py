"""Measurements on disk: one JSON line each, written as they come, so that a stopped run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinhole.differences import differences

Record = dict[str, Any]
"""`kind`, `contender`, `repeat` and `values`; of a contender that cannot be measured `method` and `reason`."""


class Records:
    """`measurements.jsonl` of one benchmark.

    Args:
        out: the benchmark's folder; it is made.
        settings: all that measurements depend on beside the contender, as JSON values.

    Raises:
        ValueError: the folder holds measurements that were made otherwise.
    """

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path, described = out / "measurements.jsonl", out / "benchmark.json"
        if described.exists():
            before = json.loads(described.read_text())
            if pairs := differences(before, settings):
                raise ValueError(f"{out} holds measurements of another benchmark ({pairs}): give another --out")
        described.write_text(json.dumps(settings, indent=2) + "\n")
        content = self._path.read_bytes() if self._path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a process that was killed may have left half a line
        self._path.write_bytes(whole)
        self._records: list[Record] = [json.loads(line) for line in whole.splitlines()]

    def find(self, kind: str, contender: str, repeat: int | None = None) -> list[Record]:
        """Those of one contender, in the order of their repetitions; of one of these only, where it is given."""
        return [
            record
            for record in self._records
            if record["kind"] == kind
            and record["contender"] == contender
            and (repeat is None or record["repeat"] == repeat)
        ]

    def measured(self, kind: str, contender: str, repeat: int, measure: Callable[[], Any]) -> None:
        """Take a measurement, unless it is there already, and hand it to the disk."""
        if not self.find(kind, contender, repeat):
            self._add({"kind": kind, "contender": contender, "repeat": repeat, "values": measure()})

    def refuse(self, contender: str, method: str, reason: str) -> None:
        """Note that a contender cannot be measured."""
        self._add({"kind": "refused", "contender": contender, "method": method, "reason": reason})

    def refused(self) -> list[Record]:
        """All that cannot be measured."""
        return [record for record in self._records if record["kind"] == "refused"]

    def _add(self, record: Record) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self._records.append(record)
