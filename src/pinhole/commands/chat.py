"""`pinhole chat`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinhole.commands.output import Output, at_fault, console, say
from pinhole.commands.untrained import tell_untrained
from pinhole.completion import method_specs
from pinhole.options import Checkpoint, ConfigOption, Reading, parse_keep, spread

if TYPE_CHECKING:
    from pinhole.chat import Chat


@spread
def chat(
    checkpoint: Checkpoint,
    reading: Reading,
    output: Output,
    image: Annotated[list[Path] | None, typer.Option(help="Pictures to talk about.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="Video files to talk about.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of a video that are read, evenly spread.")] = 32,
    method: Annotated[
        str,
        typer.Option(help="How to reduce the visual tokens, such as metacompress:DIR.", autocompletion=method_specs),
    ] = "full",
    keep: Annotated[str, typer.Option(help="A share such as 0.1 or a count such as 64.")] = "0.1",
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this and stop, instead of asking for questions.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 256,
    _config: ConfigOption = None,
) -> None:
    """Talk about pictures and videos: each is compressed once, every later turn costs its own words only.

    With --json each turn is one line of JSON.
    """
    from pinhole.chat import Chat
    from pinhole.evaluation.contender import parse_specs
    from pinhole.families import family_of
    from pinhole.images import load_image
    from pinhole.videos import load_video

    if not image and not video:
        raise ValueError("give an --image FILE or a --video FILE to talk about")
    share, specs, scope = parse_keep(keep), parse_specs(method), reading.scope()
    pictures = [load_image(path) for path in image or ()]
    tell_untrained([method], output)
    lvlm, processor = checkpoint.load(output.progress)
    films = [load_video(path, frames) for path in video or ()]
    built = [spec.build(family_of(lvlm).width, share) for spec in specs]
    conversation = Chat(lvlm, processor, built, max_new_tokens=max_new_tokens, **asdict(scope))
    seen = False
    for words in question or typed_questions(output):
        shown = (None, None) if seen else (list(pictures), list(films))
        try:
            answer(conversation, words, shown, output)
        except ValueError as error:
            if question:
                raise
            say(f"error: {error}", at_fault if output.as_json else console)
            continue
        if not seen:
            for reduction in conversation.reductions:
                output.tell(f"({reduction.n} visual tokens, {reduction.m} kept)", "dim")
        seen = True


def answer(conversation: Chat, words: str, shown: tuple[Any, Any], output: Output) -> None:
    """Print the answer: piece by piece as it comes, or as JSON when it is whole.

    Args:
        conversation: what was said before.
        words: the question.
        shown: the images and videos that come with it, None where there are none.
        output: how to print.
    """
    pieces = []
    for piece in conversation.stream(words, *shown):
        pieces.append(piece)
        if not output.as_json:
            console.print(piece, end="", markup=False, highlight=False)
    tokens = [{"visual_tokens": reduction.n, "kept_tokens": reduction.m} for reduction in conversation.reductions]
    output.give({"question": words, "answer": "".join(pieces), "seen": tokens}, "")


def typed_questions(output: Output) -> Iterator[str]:
    """Lines that the user types, until an empty one or the end of the input; with JSON, nothing asks for them."""
    prompt = "" if output.as_json else "[bold]> [/bold]"
    try:
        while words := console.input(prompt).strip():
            yield words
    except EOFError:
        if not output.as_json:
            console.print()
