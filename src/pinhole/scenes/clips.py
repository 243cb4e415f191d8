"""Scenes as clips: a few frames, in each of which only a part of the things is in view."""

from __future__ import annotations

from typing import TypeVar

from pinhole.scenes.signs.world import SignScene
from pinhole.scenes.world import Scene

AnyScene = TypeVar("AnyScene", Scene, SignScene)


def clip(scene: AnyScene, frames: int) -> list[AnyScene]:
    """The scene's frames. Each thing comes at a time of its own and stays, where it is, for half of them (rounded up).

    What is asked about the scene is asked about all frames together.
    """
    rng, stay = scene.generator("clip"), (frames + 1) // 2
    comes = [rng.randrange(frames - stay + 1) for _ in scene.things]
    shown = [[i for i, first in enumerate(comes) if first <= frame < first + stay] for frame in range(frames)]
    return [scene.part(things) for things in shown]
