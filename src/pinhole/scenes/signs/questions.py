"""Questions about a scene of the second embedded world, each answerable from its picture alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pinhole.scenes import asking
from pinhole.scenes.asking import Question, clearly_placed, place
from pinhole.scenes.signs.world import WORDS, Chart, Sign, SignScene
from pinhole.scenes.world import COLORS

Things = tuple[Sign | Chart, ...]


def _signs(things: Things) -> list[tuple[int, Sign]]:
    return [(i, thing) for i, thing in enumerate(things) if isinstance(thing, Sign)]


def _same_color(things: Things, color: str) -> frozenset[int]:
    return frozenset(i for i, sign in _signs(things) if sign.color == color)


def _word(things: Things, i: int, _: random.Random) -> Question | None:
    sign = things[i]
    if not isinstance(sign, Sign) or len(_same_color(things, sign.color)) > 1:
        return None
    return Question(f"Which word is on the {sign.color} sign?", sign.word, "word", frozenset({i}))


def _color(things: Things, i: int, _: random.Random) -> Question | None:
    sign = things[i]
    if not isinstance(sign, Sign):
        return None
    return Question(f"What color is the sign with {sign.word}?", sign.color, "color", frozenset({i}))


def _count(things: Things, i: int, rng: random.Random) -> Question | None:
    sign = things[i]
    if not isinstance(sign, Sign):
        return None
    color = rng.choice(list(COLORS)) if rng.random() < 0.3 else sign.color
    found = _same_color(things, color)
    return Question(f"How many {color} signs are there?", str(len(found)), "count", found)


def _exist(things: Things, i: int, rng: random.Random) -> Question | None:
    """Half yes, half no. A no asks for a word that no sign says, or gives a sign's word another sign's colour."""
    sign = things[i]
    if not isinstance(sign, Sign):
        return None
    answer, word, color = rng.choice(("yes", "no")), sign.word, rng.choice(("", sign.color))
    if answer == "no" and color:
        others = [o.color for _, o in _signs(things) if o.color != sign.color]
        if not others:
            return None
        color = rng.choice(others)
    elif answer == "no":
        word = rng.choice([w for w in WORDS if all(w != o.word for _, o in _signs(things))])
    article = "an" if color == "orange" else "a"
    text = f"Is there {article} {color} sign with {word}?" if color else f"Is there a sign with {word}?"
    return Question(text, answer, "exist", frozenset({i}))


def _position(things: Things, i: int, rng: random.Random) -> Question | None:
    thing = things[i]
    if not clearly_placed(thing.x, thing.y):
        return None
    names = ["the chart"] if isinstance(thing, Chart) else [f"the sign with {thing.word}"]
    if isinstance(thing, Sign) and len(_same_color(things, thing.color)) == 1:
        names.append(f"the {thing.color} sign")
    return Question(f"Where is {rng.choice(names)}?", place(thing.x, thing.y), "position", frozenset({i}))


def _bar(things: Things, i: int, rng: random.Random) -> Question | None:
    chart = things[i]
    if not isinstance(chart, Chart):
        return None
    low, *_, high = sorted(chart.bars, key=lambda bar: bar.height)
    which, bar = rng.choice((("tallest", high), ("shortest", low)))
    return Question(f"Which bar is the {which}?", bar.color, "bar", frozenset({i}))


def _bars(things: Things, i: int, _: random.Random) -> Question | None:
    chart = things[i]
    if not isinstance(chart, Chart):
        return None
    return Question("How many bars are on the chart?", str(len(chart.bars)), "bars", frozenset({i}))


def _taller(things: Things, i: int, rng: random.Random) -> Question | None:
    chart = things[i]
    if not isinstance(chart, Chart):
        return None
    one, other = rng.sample(chart.bars, 2)
    text = f"Is the {one.color} bar taller than the {other.color} bar?"
    return Question(text, "yes" if one.height > other.height else "no", "taller", frozenset({i}))


KINDS: asking.Kinds = {
    "word": _word,
    "color": _color,
    "count": _count,
    "exist": _exist,
    "position": _position,
    "bar": _bar,
    "bars": _bars,
    "taller": _taller,
}


def ask(
    scene: SignScene, rng: random.Random, busy: frozenset[int] = frozenset(), kinds: Sequence[str] | None = None
) -> Question | None:
    """One question about things that are not `busy`; see `pinhole.scenes.asking.ask`."""
    return asking.ask(KINDS, scene.things, rng, busy, kinds)


def dialogue(
    scene: SignScene, turns: int = 3, number: int = 0, kinds: Sequence[str] | None = None
) -> list[Question] | None:
    """`turns` questions about different things of one scene; see `pinhole.scenes.asking.dialogue`."""
    return asking.dialogue(KINDS, scene, turns, number, kinds)
