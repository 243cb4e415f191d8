"""Marks lie on the pixels that their tokens come from: rectangles computed by hand, pixels read from the drawing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from pinhole.families import family_of
from pinhole.families.parts import squares
from pinhole.layout import Layout, View
from pinhole.reduction import Reduction
from pinhole.view.marks import of_reduction
from pinhole.view.paint import Marks, paint
from pinhole.view.panels import described, panels

COLOUR = (200, 120, 60)


def blank(width: int, height: int, colour: tuple[int, int, int] = COLOUR) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def picked(layout: Layout, *tokens: int) -> Marks:
    return of_reduction(Reduction.select(torch.tensor(tokens), layout.n))[0]


def as_they_are(picture: Image.Image, colour: tuple[int, int, int] = COLOUR) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that have the picture's colour, which fill a rectangle."""
    rows, columns = (np.asarray(picture) == colour).all(-1).nonzero()
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert len(rows) == (right - left) * (bottom - top)
    return int(left), int(top), int(right), int(bottom)


def encoded(family: str, modality: str, seed: int) -> Layout:
    """The layout that a family makes of one picture's or video's inputs."""
    model = zoo.model_of(family)
    [visual], _ = family_of(model).encode(zoo.row(family, model, modality, seed=seed))
    return visual.tokens.layout


def inside(rectangle: tuple[int, int, int, int], line: int) -> tuple[int, int, int, int]:
    """Without the outline, `line` pixels of white and one of black."""
    left, top, right, bottom = rectangle
    return left + line + 1, top + line + 1, right - line - 1, bottom - line - 1


def test_llava_has_one_square_grid():
    layout = squares(576)
    picture = paint(blank(336, 336), layout, 0, picked(layout, 24 * 5 + 17))
    assert picture.size == (672, 672)  # 336 twice: a token is 28 pixels wide
    line = 2  # a fourteenth of a cell
    assert as_they_are(picture) == inside((17 * 28, 5 * 28, 18 * 28, 6 * 28), line)


def test_llava_next_has_an_overview_and_tiles_that_reach_beyond_the_picture():
    layout = encoded("llava_next", "image", 0)
    assert [(view.rows, view.columns) for view in layout.views] == [(4, 4), (4, 8)]
    # 90 x 48 in the middle of a canvas of 96 x 48: three pixels of padding on either side, 12 pixels a token
    picture = blank(90, 48)
    overview = paint(picture, layout, 0, picked(layout, 4 * 2 + 1))
    assert overview.size == (630, 336)
    assert as_they_are(overview) == inside((158, 168, 315, 252), 5)  # 630 / 4 = 157.5
    tiles = paint(picture, layout, 1, picked(layout, 16 + 9 * 1 + 2))  # rows of 8 and a newline
    assert tiles.size == (630 + 42, 336)
    assert as_they_are(tiles) == inside((2 * 84, 84, 3 * 84, 168), 5)


def test_a_token_in_the_padding_is_shown_beside_the_picture():
    layout = Layout.of(View(2, 2, (-0.5, 0.0, 1.5, 1.0)))
    picture = paint(blank(576, 288), layout, 0, Marks.plain(4))
    assert picture.size == (576, 576)
    pixels = np.asarray(picture)
    assert (pixels[144:432] == COLOUR).all()
    assert (pixels[:144] == 150).all()
    assert (pixels[432:] == 150).all()


def test_what_no_token_shows_is_dark_and_striped():
    layout = Layout.of(View(1, 1, (0.0, 0.25, 1.0, 0.75)))
    picture = paint(blank(600, 300), layout, 0, Marks.plain(1))
    pixels = np.asarray(picture).astype(int)
    assert as_they_are(picture) == (150, 0, 450, 300)
    for part in (pixels[:, :150], pixels[:, 450:]):
        striped = (part == 150).all(-1)
        assert 0.1 < striped.mean() < 0.2
        assert part[~striped].max() < 0.4 * max(COLOUR)


def test_qwen_has_a_grid_of_any_size():
    layout = encoded("qwen2_vl", "image", 0)
    [view] = layout.views
    picture = paint(blank(100 * view.columns, 100 * view.rows), layout, 0, picked(layout, view.columns + 1))
    scale = picture.width // (100 * view.columns)
    side = 100 * scale
    assert as_they_are(picture) == inside((side, side, 2 * side, 2 * side), 5)


def test_a_video_is_a_strip_of_the_frames_that_are_read_together():
    layout = encoded("qwen2_vl", "video", 1)
    assert [(view.rows, view.columns, view.frame) for view in layout.views] == [(3, 2, 0), (3, 2, 1)]
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    strip = panels([blank(200, 300, colour) for colour in colours], layout, picked(layout, 3, 6 + 4))
    assert [panel.caption for panel in strip] == ["frame 1, 1 outlined", "frame 3, 1 outlined"]
    first, third = strip
    assert first.image.size == (400, 600)  # twice as large, a token is 200 wide and high
    assert as_they_are(first.image, colours[0]) == inside((200, 200, 400, 400), 5)
    assert as_they_are(third.image, colours[2]) == inside((0, 400, 200, 600), 5)


@pytest.mark.parametrize("name", ["llava_next", "internvl", "idefics3", "llava_onevision", "qwen2_vl", "mistral3"])
def test_every_token_of_every_family_is_drawn_where_its_box_is(name):
    layout = encoded(name, "image", 2)
    boxes = layout.boxes()
    for number, view in enumerate(layout.views):
        mine = (layout.view == number).nonzero()[:, 0].tolist()
        for token in (mine[0], mine[len(mine) // 2], mine[-1]):
            marks = picked(layout, token)
            picture = paint(blank(400, 300, (255, 0, 0)), layout, number, marks)
            drawn = np.asarray(picture)
            if view.box is None:
                continue
            # the canvas starts where the view does, if that is beyond the picture
            top, left = min(0.0, view.box[0]), min(0.0, view.box[1])
            middle = (boxes[token, :2] + boxes[token, 2:]) / 2
            row, column = int((middle[0] - top) * 600), int((middle[1] - left) * 800)
            beyond = bool((middle < 0).any() or (middle > 1).any())
            assert drawn[row, column].tolist() == ([150] * 3 if beyond else [255, 0, 0])
            others = drawn.reshape(-1, 3)
            assert (others == (255, 0, 0)).all(-1).sum() <= 1.1 * 800 * 600 * view_share(view)


def view_share(view: View) -> float:
    """A cell of the view, as a share of the picture's area."""
    top, left, bottom, right = view.box
    return (bottom - top) * (right - left) / (view.rows * view.columns)


def test_tokens_from_an_unknown_place_are_a_grey_grid():
    layout = Layout.of(View(2, 4, None))
    picture = paint(blank(50, 50), layout, 0, picked(layout, 5))
    assert picture.width == 2 * picture.height
    side = picture.height // 2
    assert as_they_are(picture, (150, 150, 150)) == inside((side, side, 2 * side, 2 * side), 5)


def test_layouts_in_words():
    assert described(Layout.of(View(12, 12))) == "12 × 12 grid"
    assert described(Layout.of(View(2, 3), View(2, 3, frame=1), 1)) == "2 grids of 2 × 3 and 1 separator"
    assert described(Layout.of(View(4, 4), 2, View(4, 8))) == "grids of 4 × 4, 4 × 8 and 2 separators"
    assert described(Layout.of(5)) == "5 separators"
