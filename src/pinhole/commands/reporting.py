"""The page that a command writes once its results are on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pinhole.options import console


def write_beside(path: Path, write: Callable[[Path], None]) -> None:
    """Write a page and say so; where that fails, say why and go on: the results are there, and the run is not lost.

    Args:
        path: of the page.
        write: what writes it there.
    """
    try:
        write(path)
    except Exception as error:
        path.unlink(missing_ok=True)  # of an earlier run: it would show other results
        console.print(f"no {path}: {type(error).__name__}: {error}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(f"wrote {path}", soft_wrap=True)
