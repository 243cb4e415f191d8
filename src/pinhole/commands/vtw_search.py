"""`pinhole vtw-search`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pinhole.commands.output import Output
from pinhole.options import Checkpoint, spread


@spread
def vtw_search(
    checkpoint: Checkpoint,
    output: Output,
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    samples: Annotated[int, typer.Option(help="Dialogues whose first questions are read.", min=1)] = 20,
    eta: Annotated[float, typer.Option(help="Mean KL divergence, in nats, that is allowed.")] = 0.003,
    smallest: Annotated[int, typer.Option(help="The first layer to try.", min=1)] = 5,
) -> None:
    """Find the layer from which on a model can do without its visual tokens, for the method vtw."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation.layer_search import search_layer

    dialogues = read_dialogues(data)[:samples]
    lvlm, processor = checkpoint.load(output.progress)
    found = search_layer(lvlm, processor, dialogues, eta, smallest, show_progress=output.progress)
    table = Table("layer", "KL", box=None, header_style="bold")
    for layer, mean in found.divergences.items():
        table.add_row(str(layer), f"{mean:.3g}", style="bold" if layer == found.layer else None)
    use = [] if found.layer is None else [f"use vtw:layer={found.layer}"]
    output.give({**asdict(found), "layer": found.layer}, table, *use)
    if found.layer is None:
        raise ValueError(f"no layer changes the next token as little as eta = {eta}: allow more with --eta")
