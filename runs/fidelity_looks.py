"""What P attends to on pictures of the first world: the things in them, or what is between.

    python runs/fidelity_looks.py NAME=SPEC[,SPEC...] ... [--made out/fidelity] [--keep 0.1]

Each group is a method, or several seeds of one (`Pinhole=pinhole:a,pinhole:b`). A token counts as on a thing where the
centre of its patch is within the thing's radius. For `made/shapes/test` it writes `made/looks.json`: for every group
means over dialogues and seeds, with intervals over dialogues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinhole.data import Dialogue, read_dialogues
from pinhole.evaluation.overlap import first_look
from pinhole.evaluation.results import save
from pinhole.evaluation.statistics import mean_interval
from pinhole.layout import Layout
from pinhole.loading import EMBEDDED, load
from pinhole.overlap import Decided
from pinhole.progress import tracked
from pinhole.reduction import Reduction
from pinhole.scenes.world import SIDE, Scene, make_scene

ROOT = Path(__file__).parents[1]
MEASURED = ("weight_on_things", "anchors_on_things", "things_with_an_anchor", "tokens_a_row")


def on_things(scene: Scene, layout: Layout) -> torch.Tensor:
    """(things, n) bool: which tokens are on which thing."""
    boxes = layout.boxes() * SIDE
    down, across = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    return torch.stack([(down - one.y).square() + (across - one.x).square() <= one.radius**2 for one in scene.things])


def look(scene: Scene, reduction: Reduction, layout: Layout) -> dict[str, float]:
    """How one P shares out its weight, and where the tokens are that weigh most in each kept one."""
    things = on_things(scene, layout)
    p, anchors = reduction.matrix().float(), reduction.anchors
    spread = -(p * p.clamp_min(1e-30).log()).sum(1)
    return {
        "weight_on_things": float(p[:, things.any(0)].sum() / p.sum()),
        "anchors_on_things": float(things.any(0)[anchors].float().mean()),
        "things_with_an_anchor": float(things[:, anchors].any(1).float().mean()),
        "tokens_a_row": float(spread.exp().mean()),
    }


def looks(specs: list[str], keep: float, dialogues: Iterable[Dialogue]) -> Iterator[dict[str, float]]:
    """One row for every dialogue: means over the seeds."""
    model, processor = load(EMBEDDED, device="cpu")
    seeds = [Decided(model, spec, keep) for spec in specs]
    needs = frozenset().union(*(seed.needs for seed in seeds))
    for dialogue in dialogues:
        split, index = dialogue.id.split("-")
        scene, [visual] = make_scene(split, int(index)), first_look(model, processor, dialogue, needs)
        found = [look(scene, seed.choose(dialogue, [visual]).reductions[0], visual.tokens.layout) for seed in seeds]
        things = on_things(scene, visual.tokens.layout)
        yield {name: float(np.mean([one[name] for one in found])) for name in MEASURED} | {
            "tokens_on_things": float(things.any(0).float().mean())
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+")
    parser.add_argument("--made", type=Path, default=ROOT / "out" / "fidelity")
    parser.add_argument("--keep", type=float, default=0.1)
    given = parser.parse_args()
    dialogues = read_dialogues(given.made / "shapes" / "test")
    rows: list[dict[str, Any]] = []
    for group in given.groups:
        name, _, specs = group.partition("=")
        found = list(looks(specs.split(","), given.keep, tracked(dialogues, name)))
        asked = np.ones(len(found))
        row: dict[str, Any] = {"name": name, "seeds": len(specs.split(","))}
        for what in (*MEASURED, "tokens_on_things"):
            values = np.array([one[what] for one in found])
            row[what], row[f"{what}_ci95"] = values.mean(), mean_interval(values, asked)
        rows.append(row)
    save(given.made / "looks.json", {"keep": given.keep, "dialogues": len(dialogues), "rows": rows})


if __name__ == "__main__":
    main()
