"""`pinhole chat`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import Checkpoint, ConfigOption, Reading, console, parse_keep, spread


@spread
def chat(
    checkpoint: Checkpoint,
    reading: Reading,
    image: Annotated[list[Path] | None, typer.Option(help="Pictures to talk about.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="Video files to talk about.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of a video that are read, evenly spread.")] = 32,
    method: Annotated[str, typer.Option(help="How to reduce the visual tokens, such as metacompress:DIR.")] = "full",
    keep: Annotated[str, typer.Option(help="A share such as 0.1 or a count such as 64.")] = "0.1",
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this and stop, instead of asking for questions.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 256,
    _config: ConfigOption = None,
) -> None:
    """Talk about pictures and videos: each is compressed once, every later turn costs its own words only."""
    from pinhole.chat import Chat
    from pinhole.evaluation.contender import parse_specs
    from pinhole.families import family_of
    from pinhole.images import load_image
    from pinhole.videos import load_video

    if not image and not video:
        raise ValueError("give an --image FILE or a --video FILE to talk about")
    share, specs, scope = parse_keep(keep), parse_specs(method), reading.scope()
    pictures = [load_image(path) for path in image or ()]
    lvlm, processor = checkpoint.load(quiet=True)
    films = [load_video(path, frames) for path in video or ()]
    built = [spec.build(family_of(lvlm).width, share) for spec in specs]
    conversation = Chat(lvlm, processor, built, max_new_tokens=max_new_tokens, **asdict(scope))
    seen = False
    for words in question or typed_questions():
        shown = (None, None) if seen else (list(pictures), list(films))
        try:
            for piece in conversation.stream(words, *shown):
                console.print(piece, end="", markup=False, highlight=False)
        except ValueError as error:
            if question:
                raise
            console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            continue
        console.print()
        if not seen:
            for reduction in conversation.reductions:
                console.print(f"({reduction.n} visual tokens, {reduction.m} kept)", style="dim")
        seen = True


def typed_questions() -> Iterator[str]:
    """Lines that the user types, until an empty one or the end of the input."""
    try:
        while words := console.input("[bold]> [/bold]").strip():
            yield words
    except EOFError:
        console.print()
