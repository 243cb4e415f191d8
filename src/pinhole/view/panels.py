"""A picture or video with marks on its tokens: one panel for every view that the encoder has of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from pinhole.layout import Layout
from pinhole.view.cells import count
from pinhole.view.paint import SIDE, Marks, paint
from pinhole.view.subject import Subject

Source = Sequence[Image.Image]
"""A picture, or the frames of a video as the model read them."""


class Panel(NamedTuple):
    """A picture and what stands under it."""

    image: Image.Image
    caption: str


def panels(source: Source, layout: Layout, marks: Marks) -> list[Panel]:
    """Every view of a picture or video with marks on its tokens; the caption says which, and how many are outlined.

    A view that shows several frames at once is drawn on the first of them.
    """
    several, together = len(layout.views) > 1, together_of(layout, len(source))
    drawn = []
    for number, view in enumerate(layout.views):
        frame = min(view.frame * together, len(source) - 1)
        caption = ""
        if several:
            place = f"frame {frame + 1}" if len(source) > 1 else f"{view.rows} × {view.columns} grid"
            kept = int(marks.outlined[(layout.view == number).numpy()].sum())
            caption = f"{place}, {count(kept)} outlined" if marks.outlined.any() else place
        side = SIDE // 2 if len(layout.views) > 2 else SIDE
        drawn.append(Panel(paint(source[frame], layout, number, marks, side), caption))
    return drawn


def together_of(layout: Layout, frames: int) -> int:
    """How many frames of a video the encoder reads at once."""
    steps = max((view.frame for view in layout.views), default=0) + 1
    return -(-frames // steps)


def described(layout: Layout) -> str:
    """The grids of a layout in words: "12 × 12 grid", "3 grids of 2 × 3", "grids of 4 × 4, 4 × 8 and 4 separators"."""
    sizes = [f"{view.rows} × {view.columns}" for view in layout.views]
    words = [f"{sizes[0]} grid"] if len(sizes) == 1 else []
    if len(sizes) > 1:
        alike = len(set(sizes)) == 1
        words = [f"{count(len(sizes))} grids of {sizes[0]}" if alike else f"grids of {', '.join(sizes)}"]
    separators = int(layout.separators.sum())
    return " and ".join(words + ([f"{count(separators)} separator{'s' * (separators > 1)}"] if separators else []))


def check_sources(subjects: Sequence[Subject], sources: Sequence[Source]) -> None:
    """Refuse pictures on which the subjects were not seen.

    Raises:
        ValueError: another number of pictures, other sizes or other frames.
    """
    wanted = max(subject.picture for subject in subjects) + 1
    if wanted != len(sources):
        raise ValueError(f"these tokens are of {wanted} picture(s) and videos, and {len(sources)} are given")
    for subject in subjects:
        source = sources[subject.picture]
        sizes = subject.size or source[0].size, source[0].size
        if sizes[0] != sizes[1] or subject.frames != len(source):
            (width, height), (other_width, other_height) = sizes
            raise ValueError(
                f"{subject.name} was {subject.frames} frame(s) of {width} x {height} when its tokens were looked at, "
                f"and what is given is {len(source)} of {other_width} x {other_height}: give the same picture or video"
            )
