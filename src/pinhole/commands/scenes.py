"""`pinhole scenes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import QuietOption, console


def scenes(
    out: Annotated[Path, typer.Option(help="Folder for dialogues.jsonl and the pictures.")],
    split: Annotated[
        str, typer.Option(help="train, validation or test; they share no scene, no handwriting and no photograph.")
    ] = "test",
    count: Annotated[int, typer.Option(help="Dialogues.")] = 300,
    turns: Annotated[int, typer.Option(help="Questions in a dialogue, each about different things.")] = 3,
    world: Annotated[
        str, typer.Option(help="shapes (and digits), or signs: words and a bar chart, on photographs.")
    ] = "shapes",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these kinds. Of shapes: color shape count exist position digit relation; "
            "of signs: word color count exist position bar bars taller.",
            show_default="all",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(help="Pictures of a dialogue; in several, each thing is in view for half of them.")
    ] = 1,
    quiet: QuietOption = False,
) -> None:
    """Write dialogues of an embedded world: pictures of shapes and digits, or of signs; questions, answers."""
    from pinhole.scenes.dataset import write_dialogues

    path = write_dialogues(out, split, count, turns, show_progress=not quiet, world=world, kinds=kinds, frames=frames)
    console.print(f"wrote {count} dialogues to {path}", soft_wrap=True)
