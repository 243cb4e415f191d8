"""The embedded worlds by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pinhole.scenes import questions, world
from pinhole.scenes.asking import Kinds, Question
from pinhole.scenes.signs import drawing as sign_drawing
from pinhole.scenes.signs import questions as sign_questions
from pinhole.scenes.signs import world as signs


@dataclass(frozen=True)
class World:
    """What makes dialogues of a world, from split and index on.

    Attributes:
        make_scene: split, index -> what is in a picture.
        render: scene -> its picture.
        kinds: of its questions.
        dialogue: scene, turns, number, kinds -> questions, or None where the scene has too few things to ask about.
    """

    make_scene: Callable[[str, int], Any]
    render: Callable[[Any], Image.Image]
    kinds: Kinds
    dialogue: Callable[..., list[Question] | None]


WORLDS = {
    "shapes": World(world.make_scene, world.render, questions.KINDS, questions.dialogue),
    "signs": World(signs.make_scene, sign_drawing.render, sign_questions.KINDS, sign_questions.dialogue),
}
