"""Benchmarks in dialogues, built from their official files; one benchmark, one file."""

from __future__ import annotations

import difflib

from pinhole.tasks import convbench, dialogues, mt_gqa, mt_video_mme, mt_vqa_v2
from pinhole.tasks.task import Task

TASKS: dict[str, Task] = {
    module.TASK.name: module.TASK for module in (mt_gqa, mt_vqa_v2, convbench, mt_video_mme, dialogues)
}


def task_named(name: str) -> Task:
    """A task by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"no task is called {name!r}{hint}: there are {', '.join(TASKS)}")
    return TASKS[name]
