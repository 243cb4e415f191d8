"""`pinhole compare`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pinhole.options import console

if TYPE_CHECKING:
    from pinhole.evaluation.compare import Compared


def compare(
    first: Annotated[Path, typer.Argument(help="results.json of a run of pinhole eval, or its folder.")],
    second: Annotated[Path, typer.Argument(help="results.json of another; what it gains over the first is told.")],
    contender: Annotated[
        list[str] | None, typer.Option(help="Only these methods, such as metacompress; unset, all that are in both.")
    ] = None,
    across_models: Annotated[
        bool,
        typer.Option(
            "--across-models", help="Compare runs of other models, weights, dtypes, attention or engines too."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs of pinhole eval, dialogue by dialogue: differences with intervals and tests."""
    from pinhole.evaluation.compare import Run, told_differences
    from pinhole.evaluation.compare import compare as run

    runs = Run.read(first), Run.read(second)
    found = run(*runs, contender or (), across_models)
    notes = told_differences(*runs)
    if as_json:
        typer.echo(json.dumps({"differ_in": notes, "rows": [_described(one) for one in found]}, indent=2))
        return
    console.print(table_of(found))
    console.print("second minus first; p: permutation test over dialogues; Holm: corrected for all rows", style="dim")
    for note in notes:
        console.print(f"they differ in: {note}", style="dim", markup=False, highlight=False, soft_wrap=True)


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
