"""What the embedded LVLMs are taught about each world: questions, captions, and what every patch shows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pinhole.scenes import questions as shape_questions
from pinhole.scenes import world as shapes
from pinhole.scenes.asking import Question, place
from pinhole.scenes.build import PATCH, SIGNS_VOCABULARY
from pinhole.scenes.signs import questions as sign_questions
from pinhole.scenes.signs import world as signs
from pinhole.scenes.world import COLORS, SHAPES, SIDE
from pinhole.scenes.worlds import WORLDS, World

ID = {word: i for i, word in enumerate(SIGNS_VOCABULARY)}
GRID = SIDE // PATCH
VISUAL = GRID * GRID
THINGS = ("objects", *SHAPES, "sign", "chart", "bar", "tallest", "shortest")
HUES = ("object", *COLORS)
TEXTS = ("none", *"0123456789", *signs.WORDS)
LETTERS = sorted(set("".join(signs.WORDS)))
COLUMNS = 8
"""Of a patch's labels: thing, colour and text as class numbers, 0 for none; x and y of the thing's centre in [-1, 1];
1 on the one patch that holds a thing's centre or the foot of a bar, which makes things countable; a bar's height; the
letter, 0 for none."""


@dataclass(frozen=True)
class Lessons:
    """One world."""

    name: str
    world: World
    ask: Callable[..., Question | None]
    patches: Callable[[Any], np.ndarray]
    captions: Callable[[Any, random.Random], list[tuple[str, str]]]


def listed(things: Sequence[Mapping[str, str]], rng: random.Random) -> tuple[str, str]:
    """Asks for all things, with their attributes in a random order; and says so."""
    order = rng.sample(list(things[0]), len(things[0]))
    said = (f"{' '.join(thing[name] for name in order)} ," for thing in things)
    return f"list {' '.join(order)}", " ".join(said)


def shape_captions(scene: shapes.Scene, rng: random.Random) -> list[tuple[str, str]]:
    things = [
        {
            "color": thing.color,
            "shape": thing.shape,
            "place": place(thing.x, thing.y),
            "digit": "none" if thing.digit is None else str(thing.digit),
        }
        for thing in sorted(scene.things, key=lambda o: o.x)
    ]
    return [listed(things, rng)]


def shape_patches(scene: shapes.Scene) -> np.ndarray:
    labels = np.zeros((GRID, GRID, COLUMNS), np.float32)
    nearest = np.full((GRID, GRID), np.inf)
    rows, columns = np.mgrid[0:GRID, 0:GRID] * PATCH + PATCH / 2
    for thing in scene.things:
        distance = np.maximum(abs(columns - thing.x), abs(rows - thing.y))
        inside = (distance <= thing.radius) & (distance < nearest)
        nearest[inside] = distance[inside]
        text = "none" if thing.digit is None else str(thing.digit)
        labels[inside] = row(thing.shape, thing.color, text, thing.x, thing.y)
        mark(labels, thing.x, thing.y)
    return labels.reshape(VISUAL, COLUMNS)


def sign_captions(scene: signs.SignScene, rng: random.Random) -> list[tuple[str, str]]:
    """All signs, and the bars from the tallest to the shortest."""
    found = sorted((o for o in scene.things if isinstance(o, signs.Sign)), key=lambda o: o.x)
    things = [{"color": sign.color, "word": sign.word, "place": place(sign.x, sign.y)} for sign in found]
    bars = [bar for chart in scene.things if isinstance(chart, signs.Chart) for bar in chart.bars]
    return [listed(things, rng), ("list bars", " ".join(b.color for b in sorted(bars, key=lambda b: -b.height)))]


def sign_patches(scene: signs.SignScene) -> np.ndarray:
    """A patch shows a sign or a panel where that is a third of it, and a bar where that is a fifth of it.

    The text of a panel is how many bars it has, that of a bar its height in steps: as if they were written there.
    """
    labels = np.zeros((GRID, GRID, COLUMNS), np.float32)
    for thing in scene.things:
        inside = cover(thing.box) >= PATCH**2 / 3
        if isinstance(thing, signs.Sign):
            labels[inside] = row("sign", thing.color, thing.word, thing.x, thing.y)
            mark(labels, thing.x, thing.y)
            letters = np.array([1 + LETTERS.index(letter) for letter in thing.word])
            labels[inside, 7] = letters[cover_of_letters(thing).argmax(0)][inside]
            continue
        labels[inside] = row("chart", "object", str(len(thing.bars)), thing.x, thing.y)
        heights = sorted(bar.height for bar in thing.bars)
        covers = np.stack([cover(thing.bar_box(i)) for i in range(len(thing.bars))])
        for i, bar in enumerate(thing.bars):
            left, _, right, bottom = thing.bar_box(i)
            inside = (covers.argmax(0) == i) & (covers[i] >= PATCH**2 / 5)
            name = {heights[0]: "shortest", heights[-1]: "tallest"}.get(bar.height, "bar")
            level = 1 + signs.HEIGHTS.index(bar.height)
            labels[inside] = row(name, bar.color, str(level), (left + right) / 2, thing.y, level / len(signs.HEIGHTS))
            mark(labels, (left + right) // 2, bottom - 1)
    return labels.reshape(VISUAL, COLUMNS)


def cover_of_letters(sign: signs.Sign) -> np.ndarray:
    """How many pixels of each patch are of each letter, all letters taken to be of one width."""
    left, top, right, bottom = sign.box
    edges = np.linspace(left + signs.MARGIN, right - signs.MARGIN, len(sign.word) + 1)
    return np.stack([cover((first, top, last, bottom)) for first, last in itertools.pairwise(edges)])


def row(thing: str, color: str, text: str, x: float, y: float, height: float = 0) -> tuple[float, ...]:
    centre = (2 * x / SIDE - 1, 2 * y / SIDE - 1)
    return THINGS.index(thing), HUES.index(color), TEXTS.index(text), *centre, 0, height, 0


def mark(labels: np.ndarray, x: int, y: int) -> None:
    labels[min(y // PATCH, GRID - 1), min(x // PATCH, GRID - 1), 5] = 1


def cover(box: tuple[float, float, float, float]) -> np.ndarray:
    """How many pixels of each patch are in a box."""
    starts = np.arange(GRID) * PATCH
    across, down = (
        np.clip(np.minimum(starts + PATCH, last) - np.maximum(starts, first), 0, None)
        for first, last in ((box[0], box[2]), (box[1], box[3]))
    )
    return down[:, None] * across


def reading_scene(split: str, index: int) -> signs.SignScene:
    """More to read than a scene has: ten signs, or two charts."""
    rng = signs.generator(split, index, "signs/reading")
    if rng.random() < 0.5:
        return signs.SignScene(
            split, index, tuple(placed(rng, signs.random_chart(rng), 72, 38 + 68 * i, 30) for i in (0, 1))
        )
    found = [signs.random_sign(rng, word) for word in rng.sample(signs.WORDS, 10)]
    things = [placed(rng, sign, 36 + 72 * (i % 2), 14 + 29 * (i // 2), 3) for i, sign in enumerate(found)]
    return signs.SignScene(split, index, tuple(things))


def placed(rng: random.Random, thing: Any, x: int, y: int, shift: int) -> Any:
    """The thing near a point: `shift` pixels from it across at most, and half a step or less up or down."""
    width, height = thing.size
    left, top = x - width // 2 + rng.randint(-shift, shift), y - height // 2 + rng.randint(-3, 3)
    left, top = (
        min(max(0, edge // signs.STEP * signs.STEP), SIDE - size) for edge, size in ((left, width), (top, height))
    )
    return replace(thing, x=left + width // 2, y=top + height // 2)


SHAPE_LESSONS = Lessons("shapes", WORLDS["shapes"], shape_questions.ask, shape_patches, shape_captions)
SIGN_LESSONS = Lessons("signs", WORLDS["signs"], sign_questions.ask, sign_patches, sign_captions)
READING = replace(SIGN_LESSONS, world=replace(SIGN_LESSONS.world, make_scene=reading_scene))
"""For stage 1 alone."""
