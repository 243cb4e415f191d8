"""Progress: in terminals, and on standard error, so that standard output holds results alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

T = TypeVar("T")


def is_shown(wanted: bool = True) -> bool:
    """Whether progress is drawn: it is wanted, and somebody looks."""
    return wanted and Console(stderr=True).is_terminal


def bars(wanted: bool = True, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """What draws progress bars, where progress is shown; elsewhere it draws none."""
    return Progress(*columns, console=Console(stderr=True), transient=transient, disable=not is_shown(wanted))


def tracked(items: Iterable[T], what: str, wanted: bool = True) -> Iterator[T]:
    """`items`, with a progress bar that says what is done with them."""
    with bars(wanted) as bar:
        yield from bar.track(items, description=what)


@contextlib.contextmanager
def busy(what: str, wanted: bool = True) -> Iterator[None]:
    """Say what takes a while inside the block, where nobody knows how long; the line goes with the block."""
    with bars(wanted, SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), transient=True) as bar:
        bar.add_task(what, total=None)
        yield
