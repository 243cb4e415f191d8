"""Questions about a scene, each answerable from its picture alone, and three-turn dialogues made of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pinhole.scenes import asking
from pinhole.scenes.asking import MARGIN, Question, clearly_placed, place
from pinhole.scenes.world import COLORS, SHAPES, Scene, Thing


def _reference(things: tuple[Thing, ...], i: int, rng: random.Random, avoid: str = "") -> str | None:
    """Words that point at one thing only, by its colour or by its shape, or None where neither is unique."""
    words = []
    if avoid != "color" and sum(o.color == things[i].color for o in things) == 1:
        words.append(f"the {things[i].color} object")
    if avoid != "shape" and sum(o.shape == things[i].shape for o in things) == 1:
        words.append(f"the {things[i].shape}")
    return rng.choice(words) if words else None


def _color(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    name = _reference(things, i, rng, avoid="color")
    return None if name is None else Question(f"What color is {name}?", things[i].color, "color", frozenset({i}))


def _shape(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    name = _reference(things, i, rng, avoid="shape")
    return None if name is None else Question(f"What shape is {name}?", things[i].shape, "shape", frozenset({i}))


def _count(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question:
    color = rng.choice(list(COLORS)) if rng.random() < 0.3 else things[i].color
    found = frozenset(j for j, o in enumerate(things) if o.color == color)
    return Question(f"How many {color} objects are there?", str(len(found)), "count", found)


def _exist(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    """Half yes, half no; a no always joins a colour and a shape that are both in the picture or nearly so."""
    there = {(o.color, o.shape) for o in things}
    color, shape = things[i].color, things[i].shape
    if rng.random() < 0.5:
        other = rng.choice([o for j, o in enumerate(things) if j != i])
        options = [(color, other.shape), (other.color, shape), (color, rng.choice(SHAPES))]
        options = [pair for pair in options if pair not in there]
        if not options:
            return None
        color, shape = rng.choice(options)
    article = "an" if color == "orange" else "a"
    found = {j for j, o in enumerate(things) if (o.color, o.shape) == (color, shape)}
    return Question(f"Is there {article} {color} {shape}?", "yes" if found else "no", "exist", frozenset(found or {i}))


def _position(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    name, thing = _reference(things, i, rng), things[i]
    if name is None or not clearly_placed(thing.x, thing.y):
        return None
    return Question(f"Where is {name}?", place(thing.x, thing.y), "position", frozenset({i}))


def _digit(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    name = _reference(things, i, rng)
    if things[i].digit is None or name is None:
        return None
    return Question(f"Which digit is on {name}?", str(things[i].digit), "digit", frozenset({i}))


def _relation(things: tuple[Thing, ...], i: int, rng: random.Random) -> Question | None:
    j = rng.choice([k for k in range(len(things)) if k != i])
    one, other = _reference(things, i, rng), _reference(things, j, rng)
    if one is None or other is None or abs(things[i].x - things[j].x) < 2 * MARGIN:
        return None
    answer = "left" if things[i].x < things[j].x else "right"
    return Question(f"Is {one} left or right of {other}?", answer, "relation", frozenset({i, j}))


KINDS: asking.Kinds = {
    "color": _color,
    "shape": _shape,
    "count": _count,
    "exist": _exist,
    "position": _position,
    "digit": _digit,
    "relation": _relation,
}


def ask(
    scene: Scene, rng: random.Random, busy: frozenset[int] = frozenset(), kinds: Sequence[str] | None = None
) -> Question | None:
    """One question about things that are not `busy`; see `pinhole.scenes.asking.ask`."""
    return asking.ask(KINDS, scene.things, rng, busy, kinds)


def dialogue(
    scene: Scene, turns: int = 3, number: int = 0, kinds: Sequence[str] | None = None
) -> list[Question] | None:
    """`turns` questions about different things of one scene; see `pinhole.scenes.asking.dialogue`."""
    return asking.dialogue(KINDS, scene, turns, number, kinds)
