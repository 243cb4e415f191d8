"""Writes dialogues of the embedded world in the format of `pinhole.data`."""

from __future__ import annotations

import json
from pathlib import Path

from rich.progress import track

from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene, render


def write_dialogues(out: Path, split: str, count: int, turns: int = 3, show_progress: bool = True) -> Path:
    """Write `out/dialogues.jsonl` and one PNG a scene, until there are `count` dialogues; return the file's path.

    Scenes that have too few things for `turns` questions about different ones are passed over.
    """
    if count < 1 or turns < 1:
        raise ValueError(f"count and turns are at least 1, got {count} and {turns}")
    (out / "images").mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    index = 0
    for _ in track(range(count), f"drawing {split} scenes", disable=not show_progress):
        while (questions := dialogue(scene := make_scene(split, index), turns)) is None:
            index += 1
        name = f"images/{split}-{index}.png"
        render(scene).save(out / name, compress_level=1)
        asked = [{"question": q.text, "answer": q.answer, "kind": q.kind} for q in questions]
        lines.append(json.dumps({"id": f"{split}-{index}", "image": name, "turns": asked}))
        index += 1
    path = out / "dialogues.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path
