"""`pinhole overlap`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from pinhole.commands.output import Output
from pinhole.commands.untrained import tell_untrained
from pinhole.completion import method_specs
from pinhole.options import Checkpoint, PositionsOption, SeparatorsOption, parse_keep, spread

FIT = "fit"
"""What stands for the P that is fitted to each dialogue, in a method's place."""


def fit_or_method(incomplete: str) -> list[str]:
    """What can follow --method."""
    return [FIT, *method_specs(incomplete)]


@spread
def overlap(
    checkpoint: Checkpoint,
    output: Output,
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for overlap.json, reductions/ and pictures/; a killed run goes on from there.")
    ],
    method: Annotated[
        str,
        typer.Option(
            help="fit, which fits P to each dialogue, or a method such as divprune or metacompress:DIR.",
            autocompletion=fit_or_method,
        ),
    ] = FIT,
    keep: Annotated[str, typer.Option(help="A share such as 0.1 or a count such as 64.")] = "0.1",
    limit: Annotated[int, typer.Option(help="Only the first dialogues.", min=1)] = 8,
    steps: Annotated[int, typer.Option(help="Steps of each fit.", min=1)] = 500,
    seed: Annotated[int, typer.Option(help="Of each fit's start.")] = 0,
    positions: PositionsOption = None,
    separators: SeparatorsOption = "reduce",
) -> None:
    """Compare the tokens that a P keeps with those that attention ranks first, and draw both on the pictures."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation.evaluate import Names
    from pinhole.overlap import Decided, Fitted, compare
    from pinhole.scope import Scope

    share, scope = parse_keep(keep), Scope(positions, separators=separators)  # type: ignore[arg-type]
    if method != FIT:
        tell_untrained([method], output)
    dialogues = read_dialogues(data)[:limit]
    lvlm, processor = checkpoint.load(output.progress)
    chooser = (
        Fitted(lvlm, processor, share, scope, steps, seed) if method == FIT else Decided(lvlm, method, share, scope)
    )
    names = Names(checkpoint.model, str(data))
    results = compare(lvlm, processor, dialogues, chooser, out, names, show_progress=output.progress)
    output.give(results, *told(results["summary"]))
    output.tell(f"wrote {out / 'overlap.json'}, reductions/ and pictures/ beside it")


def told(summary: dict[str, Any]) -> Iterator[Table | str]:
    """The means over all images."""
    from pinhole.view.cells import percent
    from pinhole.view.overlap_sheet import CUES

    table = Table("ranked by", "also kept [95 %]", "by chance", box=None, header_style="bold")
    for name, found in summary["cues"].items():
        low, high = found["ci95"]
        mean = f"{percent(found['overlap'])} [{100 * low:.1f}, {100 * high:.1f}]"
        table.add_row(Text(CUES[name]), mean, percent(summary["chance"]))
    yield table
    yield f"{summary['images']} image(s); {percent(summary['kept'])} of the kept tokens have an anchor of their own"
    if "kl_end" in summary:
        yield f"KL {summary['kl_start']:.3g} nats a token before the fit, {summary['kl_end']:.3g} after"
