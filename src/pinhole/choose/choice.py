"""What was chosen, as a file that the commands take as `--config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OPTIONS = (
    "model",
    "dtype",
    "attention",
    "quantize",
    "method",
    "keep",
    "positions",
    "video_scope",
    "separators",
)
"""Options of the commands that a file may give, by their names there with "_" for "-"."""
EVIDENCE = "evidence"
"""What else such a file holds: why this was chosen."""


def write_choice(path: Path, options: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    """Write a file that `read_choice` reads.

    Args:
        path: of the file.
        options: by their names in `OPTIONS`.
        evidence: JSON values.
    """
    path.write_text(json.dumps({**options, EVIDENCE: evidence}, indent=2) + "\n")


def read_choice(path: Path) -> dict[str, Any]:
    """The options that a file gives, without those that are null.

    Raises:
        ValueError: no such file, or one that does not hold options.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}: give a choice.json that `pinhole choose` wrote")
    try:
        held = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(held, dict) or not isinstance(held.get("method"), str):
        raise ValueError(f'{path} names no "method": give a choice.json that `pinhole choose` wrote')
    held.pop(EVIDENCE, None)
    if unknown := sorted(held.keys() - {*OPTIONS}):
        raise ValueError(f"{path} has no options {', '.join(unknown)}; there are {', '.join(OPTIONS)}")
    return {name: value for name, value in held.items() if value is not None}
