"""`pinhole scenes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.completion import KINDS, among
from pinhole.options import spread


@spread
def scenes(
    output: Output,
    out: Annotated[Path, typer.Option(help="Folder for dialogues.jsonl and the pictures.")],
    split: Annotated[
        str,
        typer.Option(
            help="train, validation or test; they share no scene, no handwriting and no photograph.",
            autocompletion=among("train", "validation", "test"),
        ),
    ] = "test",
    count: Annotated[int, typer.Option(help="Dialogues.")] = 300,
    turns: Annotated[int, typer.Option(help="Questions in a dialogue, each about different things.")] = 3,
    world: Annotated[
        str,
        typer.Option(
            help="shapes (and digits), or signs: words and a bar chart, on photographs.", autocompletion=among(*KINDS)
        ),
    ] = "shapes",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only these kinds. Of shapes: {' '.join(KINDS['shapes'])}; of signs: {' '.join(KINDS['signs'])}.",
            show_default="all",
            autocompletion=among(*dict.fromkeys(KINDS["shapes"] + KINDS["signs"])),
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(help="Pictures of a dialogue; in several, each thing is in view for half of them.")
    ] = 1,
) -> None:
    """Write dialogues of an embedded world: pictures of shapes and digits, or of signs; questions, answers."""
    from pinhole.scenes.dataset import write_dialogues

    path = write_dialogues(
        out, split, count, turns, show_progress=output.progress, world=world, kinds=kinds, frames=frames
    )
    output.give({"dialogues": count, "data": str(path)}, f"wrote {count} dialogues to {path}")
