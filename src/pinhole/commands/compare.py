"""`pinhole compare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pinhole.commands.output import Output
from pinhole.completion import method_specs
from pinhole.options import spread
from pinhole.progress import busy

if TYPE_CHECKING:
    from pinhole.evaluation.compare import Compared


@spread
def compare(
    output: Output,
    first: Annotated[Path, typer.Argument(help="results.json of a run of pinhole eval, or its folder.")],
    second: Annotated[Path, typer.Argument(help="results.json of another; what it gains over the first is told.")],
    contender: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these methods, such as metacompress; unset, all that are in both.", autocompletion=method_specs
        ),
    ] = None,
    across_models: Annotated[
        bool,
        typer.Option(
            "--across-models", help="Compare runs of other models, weights, dtypes, attention or engines too."
        ),
    ] = False,
) -> None:
    """Compare two runs of pinhole eval, dialogue by dialogue: differences with intervals and tests."""
    from pinhole.evaluation.compare import Run, told_differences
    from pinhole.evaluation.compare import compare as run

    runs = Run.read(first), Run.read(second)
    with busy("comparing", output.progress):
        found = run(*runs, contender or (), across_models)
    notes = told_differences(*runs)
    output.give({"differ_in": notes, "rows": [_described(one) for one in found]}, table_of(found))
    output.tell("second minus first; p: permutation test over dialogues; Holm: corrected for all rows", "dim")
    for note in notes:
        output.tell(f"they differ in: {note}", "dim")


def table_of(found: list[Compared]) -> Table:
    """A row for each contender."""
    from pinhole.view.cells import labels, percent, points

    heads = ["method", "keep", "first", "second", "points [95 %]", "turns", "p", "Holm", "McNemar"]
    table = Table(box=None, header_style="bold")
    for i, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if i else "left")
    for one, label in zip(found, labels([one.first for one in found]), strict=True):
        change = one.change
        values = (change.p, change.p_holm, change.mcnemar)
        table.add_row(
            Text(label),
            str(one.first["keep"] or "–"),
            percent(one.first["average"]),
            percent(one.second["average"]),
            Text("{} [{}, {}]".format(*map(points, (change.difference, *change.ci95)))),
            f"+{change.gained} −{change.lost}",
            *("–" if p is None else f"{p:.2g}" for p in values),
        )
    return table


def _described(one: Compared) -> dict[str, Any]:
    return {
        **{name: one.first[name] for name in ("method", "keep", "settings", "dialogues")},
        "first": one.first["average"],
        "second": one.second["average"],
        **asdict(one.change),
    }
