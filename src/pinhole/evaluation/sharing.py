"""Work stealing: processes share a list of items through a folder, and each takes the next one when it is ready."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pinhole.launch import Share

T = TypeVar("T")


def shared(items: Iterable[T], folder: Path, share: Share) -> Iterator[T]:
    """The items that this process is to do; each goes to one process, and ends when all are done.

    An item belongs to the process that makes the file named after its number, which a file system lets one do. So a
    slow process does fewer, and none waits longer for the others than one item takes. What a killed run has claimed
    is forgotten: only finished work, which the caller leaves out of `items`, outlives it.

    Args:
        items: the same in every process, in the same order.
        folder: for the claims, on a file system that all processes see; it is made, and removed at the end.
        share: this process among those that share.
    """
    if share.rank == 0:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    share.wait()  # until every process knows what is left, none does any
    for number, item in enumerate(items):
        if _claimed(folder / str(number)):
            yield item
    share.wait()
    if share.rank == 0:
        shutil.rmtree(folder)


def _claimed(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
