"""Compares every method on the embedded LVLM at equal budgets, and publishes what came out.

    python runs/methods.py [--few] [--add SPEC ...]

It reads the test dialogues and the MetaCompress weights that `make quickstart` left and what `make learn` left, goes on
where it was stopped, and writes docs/results/methods.json, learned_original.json and docs/results.md;
runs/readme.py takes the README's table from there. With --add the rows of some methods join those that are published,
which stay: full and Sample are asked beside them, and must answer as published.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pinhole.budget import LLMShape
from pinhole.commands.output import console
from pinhole.data import read_dialogues
from pinhole.evaluation.contender import Contender, contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.provenance import stated
from pinhole.evaluation.results import save
from pinhole.evaluation.runner import EvalSettings
from pinhole.families import family_of
from pinhole.layer_method import LayerMethod
from pinhole.loading import EMBEDDED, load
from pinhole.method import Learned
from pinhole.registry import method_class, method_names, required_of
from pinhole.scope import Scope
from pinhole.view.cells import method_label, percent
from pinhole.view.table import markdown_table, rich_table

ROOT = Path(__file__).parents[1]
KEEPS, FEW_KEEPS = (0.5, 0.25, 0.1, 0.05), (0.25, 0.1)
POSITIONS: tuple[Literal["compact", "original"], ...] = ("compact", "original")
PAGE = ROOT / "docs" / "results.md"
RESULTS, LEARNED = (ROOT / "docs" / "results" / name for name in ("methods.json", "learned_original.json"))
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
layer 1 here (their papers: 2 of 32), and PruMerge reads the encoder's last layer, as the projector does.

MetaCompress is the quickstart's; Pinhole, VisionSelector, Relevance and ADSC's adapter are those of `make learn`,
trained for a few minutes each (`runs/learn.sh`, docs/training.md). Relevance and CDPruner read the first question of a
dialogue; `turns=each` reads every turn's and lets the LLM read the whole dialogue again each time. Oracle keeps the
tokens that rollout found relevant for the answer to the first question, knowing it: `oracle-gradient` weights
attention by gradients, as the paper does, `oracle-mean` is the mean over heads.

This model is small, its images are 144 tokens, and its first layer already moves much of what a question needs into the
text: a comparison of methods inside the LLM with those at its input says less here than on a model of 32 layers."""
ORIGINAL = """## With original positions

The tables above number the tokens that remain anew, which is the default for this family. Here each keeps the position
that it had, and so does the text behind the image (`--positions original`): what `make learn` compares, with its own
MetaCompress for both budgets."""


@dataclass(frozen=True)
class Weights:
    """Folders of what was learned.

    Attributes:
        metacompress: its weights.
        learned: what `runs/learn.sh` wrote: pinhole, relevance, visionselector, adsc, and labels of the test dialogues.
    """

    metacompress: Path
    learned: Path

    def at_the_input(self) -> list[str]:
        """Specifications."""
        return [
            f"metacompress:{self.metacompress}",
            f"pinhole:{self.learned}/pinhole",
            f"relevance:{self.learned}/relevance",
            f"relevance:{self.learned}/relevance,turns=each",
            f"visionselector:{self.learned}/visionselector",
            *(f"oracle:labels={folder}" for folder in sorted(self.learned.glob("oracle-*"))),
        ]

    def inside(self) -> list[str]:
        """Specifications."""
        return [f"adsc:{self.learned}/adsc"]


def rivals(shape: LLMShape, keeps: tuple[float, ...], weights: Weights, baselines: bool) -> list[Contender]:
    """What learned and what it is compared with, at every keep: everything, or what it cannot do without."""
    free = [
        name
        for name in method_names()
        if not issubclass(method_class(name), Learned) and not required_of(method_class(name))
    ]
    inside = [name for name in free if issubclass(method_class(name), LayerMethod)]
    entry = [name for name in free if name not in inside]
    if not baselines:
        entry, inside = ["full", "sample"], ["adsc"]
    found = contenders([*(FITTED.get(name, name) for name in entry), *weights.at_the_input()], list(keeps), shape)
    for keep in keeps:
        entering = f"sample:keep={ENTERING * keep}+" if ENTERING * keep < 1 else ""
        specs = [entering + spec for spec in (*(FITTED.get(name, name) for name in inside), *weights.inside())]
        found += contenders(specs, [keep], shape, "average")
    return found


def joined(published: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What is published, with the rows of further methods behind those of the same stage.

    A row that is published already keeps its time to the first token and gets what it computes anew; a new one has the
    columns of the others.

    Raises:
        ValueError: it was answered otherwise than published.
    """
    rows, new = list(published["rows"]), []
    numbers = {_identity(row): i for i, row in enumerate(rows)}
    for row in found["rows"]:
        number = numbers.get(_identity(row))
        if number is None:
            new.append({name: row[name] for name in rows[0]})
        elif row["accuracy"] == rows[number]["accuracy"]:
            rows[number] = {**rows[number], "flops": row["flops"], "kv_bytes": row["kv_bytes"]}
        else:
            was, now = (percent(one["average"]) for one in (rows[number], row))
            raise ValueError(f"{row['method']} at keep {row['keep']} answers {now} right here, published are {was}")
    behind = 1 + max(i for i, row in enumerate(rows) if row["method"] == "metacompress")
    about = {name: found[name] for name in ("commit", "versions", "hardware")}
    added = [
        *published.get("added", ()),
        *([{"methods": sorted({row["method"] for row in new}), **about}] if new else []),
    ]
    return {**published, "rows": rows[:behind] + new + rows[behind:], "added": added}


def _identity(row: dict[str, Any]) -> str:
    return json.dumps([row["method"], row["settings"], row["keep"]], sort_keys=True)


def page(results: dict[str, Any], original: dict[str, Any]) -> str:
    """docs/results.md: a table for each budget."""
    full = results["rows"][0]
    parts = [INTRODUCTION, f"{full['dialogues']} held-out dialogues. {stated('runs/methods.py', results)}"]
    for added in results.get("added", ()):
        names = ", ".join(map(method_label, added["methods"]))
        parts.append(f"Added afterwards: {names}. {stated('runs/methods.py', added)}")
    for keep in KEEPS:
        parts += [f"## {100 * keep:g} % of the visual tokens", table(results, keep)]
    parts.append(ORIGINAL)
    for keep in FEW_KEEPS:
        parts += [f"### {100 * keep:g} % of the visual tokens", table(original, keep)]
    return "\n\n".join(parts) + "\n"


def table(results: dict[str, Any], keep: float) -> str:
    """The rows of one budget, behind the uncompressed model's."""
    full, *others = results["rows"]
    return markdown_table({"rows": [full, *(row for row in others if row["keep"] == keep)]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("out/quickstart/data/test"))
    parser.add_argument("--metacompress", type=Path, default=Path("out/quickstart/metacompress"))
    parser.add_argument("--learned", type=Path, default=Path("out/learn"))
    parser.add_argument("--out", type=Path, default=Path("out/methods"))
    parser.add_argument("--few", action="store_true", help="what learned, full and sample alone; nothing is published")
    parser.add_argument("--add", nargs="+", metavar="SPEC", help="put these methods beside what is published")
    given = parser.parse_args()
    model, processor = load(EMBEDDED)
    weights, dialogues = Weights(given.metacompress, given.learned), read_dialogues(given.data)
    if given.add:
        compared = contenders(["full", "sample", *given.add], list(KEEPS), family_of(model).shape)
        names, settings = Names(EMBEDDED, "scenes/test"), EvalSettings(scope=Scope(POSITIONS[0]))
        found = evaluate(model, processor, compared, dialogues, given.out / "added", names, settings, ttft_dialogues=0)
        results = save(RESULTS, joined(json.loads(RESULTS.read_text()), found))
        PAGE.write_text(page(results, json.loads(LEARNED.read_text())))
        return
    compared = rivals(family_of(model).shape, FEW_KEEPS if given.few else KEEPS, weights, not given.few)
    results = {}
    for positions in POSITIONS if given.few else POSITIONS[:1]:
        out, settings = given.out / positions, EvalSettings(scope=Scope(positions))
        results[positions] = evaluate(
            model, processor, compared, dialogues, out, Names(EMBEDDED, "scenes/test"), settings
        )
        console.print(rich_table(results[positions]))
    if given.few:
        save(given.out / "results.json", results["compact"])
        return
    original = json.loads((given.learned / "original" / "results.json").read_text())
    save(RESULTS, results["compact"])
    save(LEARNED, original)
    PAGE.write_text(page(results["compact"], original))


if __name__ == "__main__":
    main()
