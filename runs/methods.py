"""Compares every method on the embedded LVLM at equal budgets, and publishes what came out.

    python runs/methods.py [--quickstart out/quickstart] [--out out/methods] [--limit N]

It reads the test dialogues and the MetaCompress weights that `make quickstart` left, goes on where it was stopped, and
writes docs/results/methods.json and docs/results.md; runs/readme.py takes the README's table from there.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from pinhole.budget import LLMShape
from pinhole.data import read_dialogues
from pinhole.evaluation.contender import Contender, contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.provenance import stated
from pinhole.families import family_of
from pinhole.layer_method import LayerMethod
from pinhole.loading import EMBEDDED, load
from pinhole.method import Learned
from pinhole.registry import method_class, method_names
from pinhole.view.table import markdown_table

ROOT = Path(__file__).parents[1]
KEEPS = (0.5, 0.25, 0.1, 0.05)
RESULTS, PAGE = ROOT / "docs" / "results" / "methods.json", ROOT / "docs" / "results.md"
FITTED = {
    "fastv": "fastv:layer=1",
    "dart": "dart:layer=1",
    "prumerge": "prumerge:layer=own",
    "prumerge+": "prumerge+:layer=own",
}
"""What four layers in the LLM, and a projector that reads the encoder's last, do not allow as the papers have it."""
ENTERING = 2.5
INTRODUCTION = """# Every method on the embedded LVLM

Three-turn dialogues about drawn scenes, the model's own answers as history. Every method has the same budget: the mean
of the visual tokens over the LLM's four layers; where layers hold different numbers, these are behind the mean. Tokens
can leave inside the LLM behind its first layer at the earliest, so that a method inside cannot get below a quarter by
itself: at lower budgets it works behind Sample, which lets in 2.5 times the budget. FastV and DART cut in front of
layer 1 here (their papers: 2 of 32), and PruMerge reads the encoder's last layer, as the projector does. VisionSelector
is not among them before it is trained.

This model is small, its images are 144 tokens, and its first layer already moves much of what a question needs into the
text: a comparison of methods inside the LLM with those at its input says less here than on a model of 32 layers."""


def rivals(shape: LLMShape, weights: dict[str, Path]) -> list[Contender]:
    """Every method at every keep; learned ones where there are weights."""
    specs = []
    for name in method_names():
        kind = method_class(name)
        if issubclass(kind, Learned):
            specs += [f"{name}:{weights[name]}"] if name in weights else []
        elif not issubclass(kind, LayerMethod):
            specs.append(FITTED.get(name, name))
    found = contenders(specs, list(KEEPS), shape)
    inside = [FITTED.get(name, name) for name in method_names() if issubclass(method_class(name), LayerMethod)]
    for keep in KEEPS:
        entering = f"sample:keep={ENTERING * keep}+" if ENTERING * keep < 1 else ""
        found += contenders([entering + spec for spec in inside], [keep], shape, "average")
    return found


def page(results: dict[str, Any]) -> str:
    """docs/results.md: a table for each budget."""
    full, *others = results["rows"]
    parts = [INTRODUCTION, f"{full['dialogues']} held-out dialogues. {stated('runs/methods.py', results)}"]
    for keep in KEEPS:
        rows = [full, *(row for row in others if row["keep"] == keep)]
        parts += [f"## {100 * keep:g} % of the visual tokens", markdown_table({"rows": rows})]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quickstart", type=Path, default=ROOT / "out" / "quickstart")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "methods")
    parser.add_argument("--limit", type=int, help="only the first dialogues; nothing is published")
    given = parser.parse_args()
    dialogues = read_dialogues(given.quickstart / "data" / "test")[: given.limit]
    model, processor = load(EMBEDDED)
    compared = rivals(family_of(model).shape, {"metacompress": given.quickstart / "metacompress"})
    results = evaluate(model, processor, compared, dialogues, given.out, Names(EMBEDDED, "scenes/test"))
    if given.limit is None:
        shutil.copy(given.out / "results.json", RESULTS)
        PAGE.write_text(page(results))


if __name__ == "__main__":
    main()
