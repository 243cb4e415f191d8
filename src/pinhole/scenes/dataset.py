"""Writes dialogues of the embedded worlds in the format of `pinhole.data`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pinhole.progress import tracked
from pinhole.scenes.clips import clip
from pinhole.scenes.worlds import WORLDS, World


def write_dialogues(
    out: Path,
    split: str,
    count: int,
    turns: int = 3,
    show_progress: bool = True,
    *,
    world: str = "shapes",
    kinds: Sequence[str] | None = None,
    frames: int = 1,
) -> Path:
    """Write `out/dialogues.jsonl` and one PNG a frame, until there are `count` dialogues; return the file's path.

    Scenes that have too few things for `turns` questions about different ones are passed over.

    Args:
        out: folder.
        split: of the scenes.
        count: dialogues.
        turns: questions in each.
        show_progress: draw a progress bar.
        world: one of `WORLDS`.
        kinds: of the questions; None are all.
        frames: pictures of a dialogue; more than one are a clip, see `pinhole.scenes.clips.clip`.

    Raises:
        ValueError: a number below 1, or a world, a split or kinds that there are not.
    """
    if min(count, turns, frames) < 1:
        raise ValueError(f"count, turns and frames are at least 1, got {count}, {turns} and {frames}")
    if world not in WORLDS:
        raise ValueError(f"no world {world!r}: the worlds are {', '.join(WORLDS)}")
    drawn = WORLDS[world]
    if kinds is not None and (not kinds or set(kinds) - drawn.kinds.keys()):
        raise ValueError(f"kinds of questions are {', '.join(drawn.kinds)}; got {', '.join(kinds) or 'none'}")
    drawn.make_scene(split, 0)  # refuses a split that there is not, before anything is written
    (out / "images").mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    index = 0
    for _ in tracked(range(count), f"drawing {split} scenes", show_progress):
        while (questions := drawn.dialogue(scene := drawn.make_scene(split, index), turns, kinds=kinds)) is None:
            index += 1
        asked = [{"question": q.text, "answer": q.answer, "kind": q.kind} for q in questions]
        lines.append(json.dumps({"id": scene.name, **_draw(out, drawn, scene, frames), "turns": asked}))
        index += 1
    path = out / "dialogues.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def _draw(out: Path, world: World, scene: Any, frames: int) -> dict[str, Any]:
    """Draw one picture, or those of a clip; the fields that name them."""
    name = f"images/{scene.name}"
    if frames == 1:
        world.render(scene).save(out / f"{name}.png", compress_level=1)
        return {"image": f"{name}.png"}
    names = [f"{name}-{i}.png" for i in range(frames)]
    for part, frame in zip(clip(scene, frames), names, strict=True):
        world.render(part).save(out / frame, compress_level=1)
    return {"images": names}
