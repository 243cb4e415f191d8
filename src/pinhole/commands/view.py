"""`pinhole view`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinhole.commands.output import Output
from pinhole.commands.untrained import tell_untrained
from pinhole.completion import method_specs
from pinhole.options import Checkpoint, Reading, parse_keep, spread
from pinhole.progress import busy, tracked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pinhole.budget import Keep
    from pinhole.view.subject import Subject

SUFFIXES = (".html", ".png")


@spread
def view(
    checkpoint: Checkpoint,
    reading: Reading,
    output: Output,
    out: Annotated[Path, typer.Option(help="The page.html or picture.png to write.")],
    image: Annotated[list[Path] | None, typer.Option(help="Pictures, each looked at by itself.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="Video files, each looked at by itself.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of a video that are read, evenly spread.", min=1)] = 32,
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this about each; methods that read the question see it too.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Methods such as sample, fastv or metacompress:DIR, a column each.", autocompletion=method_specs
        ),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64, a row each.", show_default="0.1")
    ] = None,
    relevance: Annotated[
        bool, typer.Option(help="Where a question is asked: answer it, and draw what the answer rests on.")
    ] = True,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of that answer.", min=1)] = 32,
    save: Annotated[Path | None, typer.Option(help="Keep what is drawn in this file, for --reductions.")] = None,
    reductions: Annotated[
        Path | None,
        typer.Option(help="Draw what --save kept, or one saved Reduction, without a model; give the same pictures."),
    ] = None,
) -> None:
    """Draw which visual tokens methods keep of pictures and videos, and which of them an answer rests on."""
    from pinhole.images import load_image
    from pinhole.videos import load_video
    from pinhole.view.saved import load_subjects, save_subjects

    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out ends with {' or '.join(SUFFIXES)}, got {out}")
    if not image and not video:
        raise ValueError("give an --image FILE or a --video FILE to look at")
    if bool(reductions) == bool(methods):
        raise ValueError("give --methods to look at, or --reductions FILE with what they decided before, not both")
    if reductions and (question or keep or save):
        raise ValueError("--reductions FILE is drawn as it is: leave out --question, --keep and --save")
    keeps, scope = [parse_keep(share) for share in keep or ["0.1"]], reading.scope()
    tell_untrained(methods or (), output)
    pictures = [*map(load_image, image or ()), *(load_video(path, frames) for path in video or ())]
    names = [path.name for path in (*(image or ()), *(video or ()))]
    sources = [_source(picture) for picture in pictures]
    if reductions:
        subjects = load_subjects(reductions, names[0], "image" if image else "video", len(sources[0]))
    else:
        how = {"scope": scope, "explain": relevance, "max_new_tokens": max_new_tokens}
        model = checkpoint.load(output.progress)
        questions: Sequence[str | None] = question or [None]
        subjects = _looked(model, methods or [], keeps, pictures, names, questions, how, output.progress)
    if save:
        save.parent.mkdir(parents=True, exist_ok=True)
        save_subjects(save, subjects)
    with busy("drawing", output.progress):
        _draw(out, subjects, sources)
    output.give({"picture": str(out), "saved": None if save is None else str(save)}, f"wrote {out}")


def _source(picture: Any) -> list[Any]:
    """A picture, or the frames of a video, as pictures."""
    from PIL import Image

    return [picture] if isinstance(picture, Image.Image) else [Image.fromarray(frame) for frame in picture.frames]


def _draw(out: Path, subjects: list[Subject], sources: list[list[Any]]) -> None:
    """Write the page or the picture, and its folder."""
    from pinhole.view.page import write_page
    from pinhole.view.sheet import draw_sheet

    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".png":
        draw_sheet(subjects, sources).savefig(out)
    else:
        write_page(out, subjects, sources)


def _looked(
    model: tuple[Any, Any],
    methods: list[str],
    keeps: list[Keep],
    pictures: list[Any],
    names: list[str],
    questions: Sequence[str | None],
    how: dict[str, Any],
    progress: bool,
) -> list[Subject]:
    """Every picture and video with every question.

    Args:
        model: and its processor.
        methods: as written on the command line.
        keeps: of each.
        pictures: images and videos.
        names: of these.
        questions: None asks nothing.
        how: the other arguments of `look_at`.
        progress: whether a progress bar is wanted.
    """
    from pinhole.view.asking import entrants
    from pinhole.view.look import look_at

    asked = entrants(model[0], methods, keeps)
    work = [(number, words) for number in range(len(pictures)) for words in questions]
    return [
        look_at(*model, pictures[number], words, asked, number=number, name=names[number], **how)
        for number, words in tracked(work, "looking", progress)
    ]
