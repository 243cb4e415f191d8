"""Draws a scene of the second embedded world."""

from __future__ import annotations

import functools
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pinhole.scenes.signs.photographs import background
from pinhole.scenes.signs.world import MARGIN, Chart, Sign, SignScene
from pinhole.scenes.world import COLORS

WHITE, BLACK, PANEL = (250, 250, 250), (15, 15, 15), (232, 230, 222)
_BRIGHT = ("yellow", "orange", "green")


def render(scene: SignScene) -> Image.Image:
    """The picture of a scene: RGB, `SIDE` x `SIDE` pixels."""
    picture = background(scene.split, scene.generator("pixels"))
    for thing in scene.things:
        if isinstance(thing, Chart):
            _draw_chart(picture, thing)
        else:
            _draw_sign(picture, thing)
    return picture


def _draw_chart(picture: Image.Image, chart: Chart) -> None:
    draw = ImageDraw.Draw(picture)
    _rectangle(draw, chart.box, PANEL)
    for i, bar in enumerate(chart.bars):
        _rectangle(draw, chart.bar_box(i), COLORS[bar.color])


def _draw_sign(picture: Image.Image, sign: Sign) -> None:
    """A plate with letters that stand out from it, or letters with a halo that does."""
    contrast = BLACK if sign.color in _BRIGHT else WHITE
    letters = _letters(sign.word, sign.font, sign.size)
    if sign.plate:
        _rectangle(ImageDraw.Draw(picture), sign.box, COLORS[sign.color])
        picture.paste(contrast, sign.box, letters)
    else:
        picture.paste(contrast, sign.box, letters.filter(ImageFilter.MaxFilter(5)))
        picture.paste(COLORS[sign.color], sign.box, letters)


def _rectangle(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], color: tuple[int, int, int]) -> None:
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=color)


@functools.cache
def _letters(word: str, font: str, size: tuple[int, int]) -> Image.Image:
    """Ink coverage of a word in capitals that fill a sign of `size` up to its margin."""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    face = ImageFont.truetype(path, 8 * size[1], layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = (round(edge) for edge in face.getbbox(word.upper()))
    ink = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(ink).text((-left, -top), word.upper(), fill=255, font=face)
    mask = Image.new("L", size, 0)
    mask.paste(ink.resize((size[0] - 2 * MARGIN, size[1] - 2 * MARGIN), Image.Resampling.BOX), (MARGIN, MARGIN))
    return mask
