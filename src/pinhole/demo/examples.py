"""Pictures to begin with: scenes of the embedded world, for the LVLM that knows it, and questions to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene, render

QUESTIONS = ("How many red objects are there?", "What color is the circle?", "Is there a blue square?")
"""What the embedded LVLM can be asked about any picture."""


@dataclass(frozen=True)
class Example:
    """A picture and questions about it.

    Attributes:
        path: of the picture's file.
        title: what it shows, in words.
        questions: that it answers.
    """

    path: Path
    title: str
    questions: tuple[str, ...]


def scenes(folder: Path, count: int = 6) -> list[Example]:
    """So many scenes that nobody has seen in training, written into a folder.

    Raises:
        ImportError: scikit-learn, which has the digits, is missing.
    """
    found: list[Example] = []
    index = 0
    while len(found) < count:
        scene = make_scene("test", index)
        if questions := dialogue(scene):
            path = folder / f"scene-{index}.png"
            render(scene).save(path)
            title = ", ".join(f"{thing.color} {thing.shape}" for thing in scene.things)
            found.append(Example(path, title, tuple(question.text for question in questions)))
        index += 1
    return found
