"""`pinhole data build` and `pinhole data list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.completion import BENCHMARKS, among
from pinhole.options import spread
from pinhole.progress import busy

app = typer.Typer(help="Build benchmarks from their official files.", no_args_is_help=True)


@app.command("list")
@spread
def list_tasks(output: Output) -> None:
    """List the benchmarks that can be built."""
    from pinhole.tasks import TASKS

    rows = [{"task": task.name, "about": task.about, "splits": list(task.splits)} for task in TASKS.values()]
    output.give(rows, *(f"{task.name:<14}{task.about} ({', '.join(task.splits)})" for task in TASKS.values()))


@app.command()
@spread
def build(
    output: Output,
    task: Annotated[str, typer.Argument(help="One of `pinhole data list`.", autocompletion=among(*BENCHMARKS))],
    source: Annotated[Path, typer.Option(help="Folder with the official files.")],
    out: Annotated[Path, typer.Option(help="Folder for the data set, which --data takes.")],
    split: Annotated[str | None, typer.Option(help="Part of the release; unset, the one that papers report.")] = None,
    suffix: Annotated[str | None, typer.Option(help="Follows every question; unset, the task's own.")] = None,
) -> None:
    """Build a benchmark as a data set; pictures and videos stay where they are."""
    from pinhole.tasks import task_named
    from pinhole.tasks.build import build as run

    chosen = task_named(task)
    with busy(f"building {chosen.name}", output.progress):
        told = run(chosen, source, out, split, suffix)
    output.give(
        told, f"{told['dialogues']:,} dialogues of {told['task']} ({told['split']}) in {out}; SHA-256 {told['sha256']}"
    )
    output.tell(f"evaluate: pinhole eval --data {out} --max-new-tokens {chosen.max_new_tokens}")
