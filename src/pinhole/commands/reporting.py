"""The page that a command writes once its results are on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pinhole.commands.output import Output, at_fault, say


def write_beside(path: Path, write: Callable[[Path], None], output: Output) -> None:
    """Write a page and say so; where that fails, say why and go on: the results are there, and the run is not lost.

    Args:
        path: of the page.
        write: what writes it there.
        output: where to say so.
    """
    try:
        write(path)
    except Exception as error:
        path.unlink(missing_ok=True)  # of an earlier run: it would show other results
        say(f"no {path}: {type(error).__name__}: {error}", at_fault)
    else:
        output.tell(f"wrote {path}")
