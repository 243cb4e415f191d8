"""The scenes of the second embedded world: signs that carry a word, and one bar chart, before a photograph.

A scene is decided by (split, index) alone; the random numbers are not those of the first world, and the photograph
behind a scene is a crop from its split's own part of it (see `photographs`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from pinhole.scenes.world import COLORS, SIDE, generator

WORDS = ("bus", "cafe", "exit", "hall", "jump", "kiwi", "milk", "open", "park", "shop", "taxi", "zoo")
"""What signs say: no two begin with the same letter."""
FONTS = (
    "DejaVuSans-Bold",
    "DejaVuSerif-Bold",
    "DejaVuSansMono-Bold",
    "STIXGeneralBol",
    "DejaVuSans-BoldOblique",
    "cmb10",
)
"""The fonts that matplotlib ships and signs are lettered in."""
BAR_WIDTH, BAR_GAP, CHART_HEIGHT = 12, 4, 50
HEIGHTS = (8, 16, 24, 32, 40)
"""Of bars, in pixels."""
CAPS = (14, 16)
MARGIN = 4
"""What of a sign is around its letters, in pixels, on each side."""
STEP = 6
"""Things' left and upper edges are multiples of this many pixels: half a patch, or so small an LVLM learns no words."""
_APART, _TRIES = 2, 40

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels; right and bottom are outside."""


@dataclass(frozen=True)
class Sign:
    """One sign: `x`, `y` its centre and `cap` the height of its capitals, in pixels.

    With a `plate` its colour is the plate's, without one it is the letters'.
    """

    word: str
    color: str
    x: int
    y: int
    cap: int
    font: str
    plate: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; both are even."""
        return 2 * round(len(self.word) * self.cap * 0.42 + MARGIN), self.cap + 2 * MARGIN

    @property
    def box(self) -> Box:
        """The pixels of the plate, or of the letters and what lies around them."""
        return _box(self.x, self.y, *self.size)


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; `height` in pixels."""

    color: str
    height: int


@dataclass(frozen=True)
class Chart:
    """A bar chart on a pale panel: `x`, `y` its centre; no two bars share a colour or a height."""

    x: int
    y: int
    bars: tuple[Bar, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the panel in pixels; both are even."""
        return len(self.bars) * (BAR_WIDTH + BAR_GAP) + BAR_GAP, CHART_HEIGHT

    @property
    def box(self) -> Box:
        """The pixels of the panel."""
        return _box(self.x, self.y, *self.size)

    def bar_box(self, i: int) -> Box:
        """The pixels of bar `i`."""
        left, _, _, bottom = self.box
        left, bottom = left + BAR_GAP + i * (BAR_WIDTH + BAR_GAP), bottom - BAR_GAP
        return left, bottom - self.bars[i].height, left + BAR_WIDTH, bottom


@dataclass(frozen=True)
class SignScene:
    """What a picture shows: a chart and then two to four signs. `render(scene)` draws it."""

    split: str
    index: int
    things: tuple[Chart | Sign, ...]

    @property
    def name(self) -> str:
        """Tells it from every other scene, of the first world too."""
        return f"signs-{self.split}-{self.index}"

    def generator(self, purpose: str) -> random.Random:
        """The random numbers that belong to this scene, for one purpose."""
        return generator(self.split, self.index, f"signs/{purpose}")

    def part(self, things: list[int]) -> SignScene:
        """The scene with these things alone."""
        return replace(self, things=tuple(self.things[i] for i in things))


def make_scene(split: str, index: int) -> SignScene:
    """One chart and two to four signs with different words, apart from each other."""
    rng = generator(split, index, "signs/scene")
    signs = [random_sign(rng, word) for word in rng.sample(WORDS, rng.randint(2, 4))]
    chart = random_chart(rng)
    while (things := _arranged(rng, (chart, *signs))) is None:
        pass
    return SignScene(split, index, things)


def random_sign(rng: random.Random, word: str) -> Sign:
    """A sign that says this word and has no place yet."""
    return Sign(word, rng.choice(list(COLORS)), 0, 0, rng.choice(CAPS), rng.choice(FONTS), rng.random() < 0.7)


def random_chart(rng: random.Random) -> Chart:
    """A chart of three to five bars that has no place yet."""
    count = rng.randint(3, 5)
    bars = zip(rng.sample(list(COLORS), count), rng.sample(HEIGHTS, count), strict=True)
    return Chart(0, 0, tuple(Bar(*bar) for bar in bars))


def _arranged(rng: random.Random, things: tuple[Chart | Sign, ...]) -> tuple[Chart | Sign, ...] | None:
    """The things at places of their own, one after the other; None where those before leave one no room."""
    arranged: list[Chart | Sign] = []
    taken: list[Box] = []
    for thing in things:
        width, height = thing.size
        for _ in range(_TRIES):
            x = rng.randrange(0, SIDE - width + 1, STEP) + width // 2
            y = rng.randrange(0, SIDE - height + 1, STEP) + height // 2
            box = _box(x, y, width, height)
            if all(_apart(box, other) for other in taken):
                arranged.append(replace(thing, x=x, y=y))
                taken.append(box)
                break
        else:
            return None
    return tuple(arranged)


def _box(x: int, y: int, width: int, height: int) -> Box:
    return x - width // 2, y - height // 2, x + width // 2, y + height // 2


def _apart(one: Box, other: Box) -> bool:
    return (
        one[2] + _APART <= other[0]
        or other[2] + _APART <= one[0]
        or one[3] + _APART <= other[1]
        or other[3] + _APART <= one[1]
    )
