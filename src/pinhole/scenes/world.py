"""The embedded world: seeded pictures of coloured shapes, some carrying a real handwritten digit.

A scene is decided by (split, index) alone, so the same call gives the same pixels everywhere, and the splits never
share a seed. The digits are the UCI handwritten digits that scikit-learn ships: 1,797 samples in the order of their
13 writers. Each split takes a contiguous block, with 140 samples (one writer's worth) left out between two blocks, so
no writer is in two splits.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

SIDE = 144
"""Width and height of every picture, in pixels."""
COLORS = {
    "red": (220, 50, 47),
    "green": (60, 170, 70),
    "blue": (60, 100, 230),
    "yellow": (235, 205, 40),
    "purple": (150, 60, 190),
    "orange": (240, 130, 30),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring", "diamond")
DIGIT_BLOCKS = {"train": range(0, 1160), "validation": range(1300, 1400), "test": range(1540, 1797)}
DIGITS = (0, 1, 2, 4, 5, 7)
"""The digits that things carry: the other four, at eight pixels a side, are too alike for an LVLM this small."""
SPLITS = tuple(DIGIT_BLOCKS)
_SMALLEST, _LARGEST, _DIGIT_NEEDS = 13, 20, 16
_INK = np.array((15, 15, 15), np.float32)


@dataclass(frozen=True)
class Thing:
    """One object of a scene: `x`, `y` its centre and `radius`, in pixels; `digit` is None where it carries none."""

    shape: str
    color: str
    x: int
    y: int
    radius: int
    digit: int | None = None


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `render(scene)` draws it."""

    split: str
    index: int
    things: tuple[Thing, ...]
    digit_samples: tuple[int | None, ...]

    @property
    def name(self) -> str:
        """Tells it from every other scene."""
        return f"{self.split}-{self.index}"

    def generator(self, purpose: str) -> random.Random:
        """The random numbers that belong to this scene, for one purpose."""
        return generator(self.split, self.index, purpose)

    def part(self, things: list[int]) -> Scene:
        """The scene with these things alone."""
        samples = tuple(self.digit_samples[i] for i in things)
        return replace(self, things=tuple(self.things[i] for i in things), digit_samples=samples)


def generator(split: str, index: int, purpose: str = "scene") -> random.Random:
    """The random numbers that belong to one scene of one split; no two purposes share a stream.

    Raises:
        ValueError: `split` is none of `SPLITS`, or `index` is negative.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: the splits are {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"scene indices start at 0, got {index}")
    return random.Random(f"pinhole/{split}/{index}/{purpose}")


def make_scene(split: str, index: int) -> Scene:
    """Three to six things of free positions and sizes. Their circles do not overlap; in few scenes two corners meet."""
    rng = generator(split, index)
    wanted = rng.randint(3, 6)
    things: list[Thing] = []
    samples: list[int | None] = []
    while len(things) < wanted:
        radius = rng.randint(_SMALLEST, _LARGEST)
        x, y = (rng.randint(radius, SIDE - radius) for _ in "xy")
        if any((x - o.x) ** 2 + (y - o.y) ** 2 <= (radius + o.radius + 2) ** 2 for o in things):
            continue
        sample = None
        if radius >= _DIGIT_NEEDS and rng.random() < 0.75:
            sample = rng.choice(_samples(split))
        digit = None if sample is None else int(_digits()[1][sample])
        things.append(Thing(rng.choice(SHAPES), rng.choice(list(COLORS)), x, y, radius, digit))
        samples.append(sample)
    return Scene(split, index, tuple(things), tuple(samples))


def render(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, `SIDE` x `SIDE` pixels, on a noisy graded background."""
    seed = scene.generator("pixels").getrandbits(64)
    noise = np.random.default_rng(seed)
    first, last = noise.uniform(90, 160, (2, 3))
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    if noise.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    pixels = np.broadcast_to(first * (1 - ramp) + last * ramp, (SIDE, SIDE, 3)).astype(np.float32)
    pixels = pixels + noise.normal(0, 8, (SIDE, SIDE, 1)).astype(np.float32)
    for thing, sample in zip(scene.things, scene.digit_samples, strict=True):
        r = thing.radius
        window = pixels[thing.y - r : thing.y + r, thing.x - r : thing.x + r]
        _blend(window, _silhouette(thing.shape, r), np.array(COLORS[thing.color], np.float32))
        if sample is not None:
            _blend(window, _glyph(sample, r, noise.uniform(-12, 12)), _INK)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _blend(window: np.ndarray, alpha: np.ndarray, color: np.ndarray) -> None:
    window += alpha[:, :, None] * (color - window)


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("the embedded world needs scikit-learn: pip install 'pinhole-vlm[scenes]'") from error
    data = load_digits()
    return data.images.astype(np.float32) / 16, data.target


@functools.cache
def _samples(split: str) -> list[int]:
    """The samples of a split that show one of `DIGITS`."""
    return [i for i in DIGIT_BLOCKS[split] if _digits()[1][i] in DIGITS]


def _glyph(sample: int, radius: int, tilt: float) -> np.ndarray:
    """Ink coverage (2r, 2r) in [0, 1] of one handwritten digit, tilted by `tilt` degrees, centred."""
    side = round(1.5 * radius)
    ink = Image.fromarray((_digits()[0][sample] * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (2 * radius, 2 * radius), 0)
    canvas.paste(ink, (radius - side // 2, radius - side // 2))
    return np.asarray(canvas.rotate(tilt, Image.Resampling.BILINEAR), np.float32) / 255


@functools.cache
def _silhouette(shape: str, radius: int) -> np.ndarray:
    """Coverage (2r, 2r) in [0, 1] of a shape, drawn four times larger and averaged down."""
    size = 8 * radius
    image = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left * size, top * size, right * size - 1, bottom * size - 1]

    if shape == "circle":
        draw.ellipse(box(0, 0, 1, 1), fill=255)
    elif shape == "square":
        draw.rectangle(box(0.08, 0.08, 0.92, 0.92), fill=255)
    elif shape == "triangle":
        draw.polygon([(size / 2, 0), (size - 1, size - 1), (0, size - 1)], fill=255)
    elif shape == "cross":
        draw.rectangle(box(0.32, 0, 0.68, 1), fill=255)
        draw.rectangle(box(0, 0.32, 1, 0.68), fill=255)
    elif shape == "ring":
        draw.ellipse(box(0, 0, 1, 1), fill=255)
        draw.ellipse(box(0.22, 0.22, 0.78, 0.78), fill=0)
    else:
        draw.polygon([(size / 2, 0), (size - 1, size / 2), (size / 2, size - 1), (0, size / 2)], fill=255)
    return np.asarray(image.resize((2 * radius, 2 * radius), Image.Resampling.BOX), np.float32) / 255
