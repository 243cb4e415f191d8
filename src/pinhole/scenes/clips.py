"""Scenes as clips: a few frames, in each of which only a part of the things is in view."""

from __future__ import annotations

from dataclasses import replace

from pinhole.scenes.world import Scene, generator


def clip(scene: Scene, frames: int) -> list[Scene]:
    """The scene's frames. Each thing comes at a time of its own and stays, where it is, for half of them (rounded up).

    What is asked about the scene is asked about all frames together.
    """
    rng, stay = generator(scene.split, scene.index, "clip"), (frames + 1) // 2
    comes = [rng.randrange(frames - stay + 1) for _ in scene.things]
    shown = [[i for i, first in enumerate(comes) if first <= frame < first + stay] for frame in range(frames)]
    return [_part(scene, things) for things in shown]


def _part(scene: Scene, things: list[int]) -> Scene:
    """The scene with these things alone."""
    samples = tuple(scene.digit_samples[i] for i in things)
    return replace(scene, things=tuple(scene.things[i] for i in things), digit_samples=samples)
