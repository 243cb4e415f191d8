"""docs/results/fidelity.json and docs/fidelity.md from what runs/fidelity.sh asked.

    python runs/fidelity.py [--made out/fidelity] [--out docs]

`made/asked` has a folder for each part and in it one for each group of contenders, as `pinhole eval` left them: in
"rivals" and "more" each method is a group of its own, elsewhere the contenders of a folder are seeds of one. A group's
score in a dialogue is the mean over its seeds; differences are paired, and intervals are bootstrap intervals over
dialogues. `made/embedded` has the runs of the trainings, with their logs, `made/looks.json` is of
runs/fidelity_looks.py, `made/ceiling.json` of runs/fidelity_ceiling.py, `made/cost` of `pinhole bench`.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from pinhole.benchmark.table import tables
from pinhole.evaluation.answers import read_answers
from pinhole.evaluation.provenance import commit, hardware, stated, versions
from pinhole.evaluation.results import save
from pinhole.evaluation.statistics import mean_interval, recovery_interval
from pinhole.scenes.worlds import WORLDS
from pinhole.view.cells import NONE, count, method_label, percent, points
from pinhole.view.table import Table, as_markdown

ROOT = Path(__file__).parents[1]
OURS = {"signs": "Pinhole, trained on signs"}
"""The group that the others of a part are held against; of parts that are not named it is "Pinhole"."""
INTRODUCTION = """# Pinhole's own method

`pinhole` is MetaCompress's P with other queries and a learned correction, X~ = P X + C
([its docstring](reference/methods.md) has the formulas, [research_log.md](research_log.md) how it came about, with what
did not help). These are three-turn dialogues about pictures that were not trained on, with the model's own answers as
history. Of methods that learn, a row is the mean over as many seeds as it says; "gap closed" is the share of the way
from Sample to the uncompressed model, and "to Pinhole" the paired difference in points. Brackets are 95 % bootstrap
intervals over dialogues."""
LEARNED = {
    "pinhole": "Pinhole",
    "plain": "Pinhole without C",
    "metacompress": "MetaCompress, trained likewise",
}
SIZED = "shapes"
"""The part whose things have sizes."""
SIZES = ((13, 15), (16, 17), (18, 20))
"""Radii in pixels of 144, first and last."""
LOOKS = {
    "weight_on_things": "Weight on things",
    "anchors_on_things": "Anchors on things",
    "things_with_an_anchor": "Things with an anchor",
    "tokens_a_row": "Tokens in a row",
}
LOOKED = """The same pictures, {keep} of the tokens. {share} of all tokens are on a thing: the centre of their patch is
within its radius. An anchor is the token that weighs most in a kept one; "tokens in a row" is the exponential of the
row's entropy: among how many tokens the weight would be shared evenly."""
TERMS = {"kl": "KL", "entropy": "Row entropy", "collapse": "Largest column sum"}
WHEN = ("start", "end")
TRAINING = """Means over the first and the last 20 steps, at shares that are drawn for each step: the KL divergence of
the answers from the uncompressed model's, the entropy of P's rows in nats, and the largest column sum of P. A selection
has an entropy of 0 and a largest column sum of 1."""
CEILING = """{pictures} pictures of the first world, {keep} of the tokens. For each picture P is fitted to the answers
of {learned} dialogues about it (MetaCompress's Algorithm 2, with Adam, {steps} steps), and asked in {held} others,
with the reference answers as history. KL is that from the uncompressed model's answers, in nats a token; an answer is
right where each of its tokens is the likeliest."""
COST = """LLaVA-1.5-7B with random weights, its LLM cut to two of 32 layers, which makes everything that is not the LLM
weigh more; [efficiency.md](efficiency.md) says what is measured. On a GPU the steps in which seeds are chosen, one for
each kept token, are launched one after another; that has not been measured."""
PARTS = {
    "shapes": (
        "The first world",
        "The embedded LVLM, asked about the world that it and the compressors were trained on. Each compressor is one "
        "set of weights for both shares, from 3,200 dialogues, six times; kept tokens are numbered anew (compact "
        "positions), as servers need it.",
    ),
    "original": (
        "With original positions",
        "The same LVLM, where every kept token has the position of its anchor. Selections of few tokens gain by it. "
        "Pinhole was trained with compact positions.",
    ),
    "tiles": (
        "Twice the resolution",
        "The same weights as a LLaVA-NeXT: the picture as a whole, and as four tiles at twice the resolution. Neither "
        "the LVLM nor the compressors were trained on tiles, and the LVLM answers worse for it: it gains by fewer "
        "tokens of what it does not know.",
    ),
    "signs": (
        "Another world",
        "The LVLM that knows both worlds (`embedded-signs`), asked about the second: words in several fonts and bar "
        "charts on photographs. One compressor was trained on 1,600 dialogues about that world, one on as many about "
        "the first alone.",
    ),
}


def group(folder: Path) -> list[dict[str, Any]]:
    """The groups of one folder, each with its scores dialogue by dialogue."""
    results, answered = json.loads((folder / "results.json").read_text()), read_answers(folder / "answers.jsonl")
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for row in results["rows"]:
        label = method_label(row["method"]) if folder.name in ("rivals", "more") else folder.name
        name, keep = label, None if row["method"] == "full" else row["keep"]
        records = {dialogue: record for (key, dialogue), record in answered.items() if key == row["contender"]}
        empty = {"name": name, "keep": keep, "tokens": row["kept_tokens"], "seeds": [], "kinds": []}
        one = found.setdefault((name, keep), empty)
        one["kinds"].append(row["by_kind"])
        one["seeds"].append({dialogue: np.array(record.correct, float) for dialogue, record in records.items()})
    return list(found.values())


def sizes_of(names: list[str], turns: int) -> np.ndarray:
    """(dialogues, turns) the radius of the smallest thing that each question is about; NaN where there is none."""
    world, smallest = WORLDS["shapes"], []
    for name in names:
        split, index = name.split("-")
        scene = world.make_scene(split, int(index))
        asked = world.dialogue(scene, turns)
        assert asked is not None
        smallest.append([min((scene.things[i].radius for i in question.about), default=np.nan) for question in asked])
    return np.array(smallest)


def rows_of(part: Path) -> tuple[list[dict[str, Any]], int]:
    """A row for each group of a part, and how many dialogues were held."""
    groups = [one for folder in sorted(part.iterdir()) for one in group(folder)]
    names = sorted(groups[0]["seeds"][0])
    asked = np.array([len(groups[0]["seeds"][0][name]) for name in names])
    right: dict[tuple[str, Any], np.ndarray] = {}
    for one in groups:
        right[one["name"], one["keep"]] = np.mean([[seed[name].sum() for name in names] for seed in one["seeds"]], 0)
    full = right["Full", None]
    sizes = sizes_of(names, asked.max()) if part.name == SIZED else None
    rows = []
    for one in groups:
        mine, keep = right[one["name"], one["keep"]], one["keep"]
        each = np.mean([[seed[name] for name in names] for seed in one["seeds"]], 0)
        row = {
            "name": one["name"],
            "keep": keep,
            "tokens": one["tokens"],
            "seeds": len(one["seeds"]),
            "turns": each.mean(0).tolist(),
            "by_kind": {kind: np.mean([seed[kind] for seed in one["kinds"]]) for kind in one["kinds"][0]},
            "average": mine.sum() / asked.sum(),
            "ci95": mean_interval(mine, asked),
        }
        if sizes is not None:
            row["by_size"] = [each[(sizes >= least) & (sizes <= most)].mean() for least, most in SIZES]
        if keep is not None:
            sample = right["Sample", keep]
            gained, gap = mine - sample, full - sample
            if interval := recovery_interval(gained, gap):
                row["gap_closed"], row["gap_ci95"] = gained.sum() / gap.sum(), interval
            behind = mine - right[OURS.get(part.name, "Pinhole"), keep]
            if behind.any():
                row["to_ours"], row["to_ours_ci95"] = behind.sum() / asked.sum(), mean_interval(behind, asked)
        rows.append(row)
    return sorted(rows, key=lambda row: (-(row["keep"] or 1), row["average"])), len(names)


def trainings(folder: Path) -> list[dict[str, Any]]:
    """The terms of the loss in the first and in the last 20 steps, means over the seeds of each method."""
    found: dict[str, list[list[dict[str, float]]]] = {}
    for log in sorted(folder.glob("*/log.jsonl")):
        steps = [json.loads(line) for line in log.read_text().splitlines()]
        if TERMS.keys() <= steps[0].keys():
            found.setdefault(log.parent.name.rpartition("-")[0] or log.parent.name, []).append(steps)
    rows = []
    for name, runs in found.items():
        parts = {"start": [steps[:20] for steps in runs], "end": [steps[-20:] for steps in runs]}
        means = {
            when: {term: np.mean([step[term] for part in some for step in part]) for term in TERMS}
            for when, some in parts.items()
        }
        rows.append({"name": LEARNED[name], "seeds": len(runs), "steps": len(runs[0]), **means})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of one share as Markdown, the uncompressed model's first."""
    header = ["Method", "Seeds", "Tokens", "Turn 1", "Turn 2", "Turn 3", "Mean [95 %]", "Gap closed", "To Pinhole"]
    lines = []
    for row in rows:
        closed = to_ours = NONE
        if "gap_closed" in row and row["name"] != "Sample":
            closed = f"{percent(row['gap_closed'])} {_bracket(row['gap_ci95'])}"
        if "to_ours" in row:
            low, high = row["to_ours_ci95"]
            to_ours = f"{points(row['to_ours'])} [{points(low)}, {points(high)}]"
        right = f"{percent(row['average'])} {_bracket(row['ci95'])}"
        shares = [percent(share) for share in row["turns"]]
        lines.append([row["name"], str(row["seeds"]), count(row["tokens"]), *shares, right, closed, to_ours])
    return as_markdown(Table(header, [lines]))


def kind_table(rows: list[dict[str, Any]]) -> str:
    """Accuracy by the kind of question."""
    kinds = sorted(rows[0]["by_kind"])
    lines = [[row["name"], *(percent(row["by_kind"][kind]) for kind in kinds)] for row in rows]
    return as_markdown(Table(["Method", *kinds], [lines]))


def size_table(rows: list[dict[str, Any]]) -> str:
    """Accuracy by the size of the smallest thing asked about."""
    header = ["Method", *(f"{least} to {most}" for least, most in SIZES)]
    return as_markdown(Table(header, [[[row["name"], *map(percent, row["by_size"])] for row in rows]]))


def look_table(rows: list[dict[str, Any]]) -> str:
    """What P attends to."""
    lines = []
    for row in rows:
        shares = [f"{percent(row[name])} {_bracket(row[f'{name}_ci95'])}" for name in list(LOOKS)[:-1]]
        lines.append([row["name"], str(row["seeds"]), *shares, f"{row['tokens_a_row']:.1f}"])
    return as_markdown(Table(["Method", "Seeds", *LOOKS.values()], [lines]))


def ceiling_table(rows: list[dict[str, Any]]) -> str:
    """What P could be at best."""
    lines = []
    for row in rows:
        low, high = row["kl_ci95"]
        right = f"{percent(row['right'])} {_bracket(row['right_ci95'])}"
        lines.append([row["name"], f"{row['kl']:.3f} [{low:.3f}, {high:.3f}]", right])
    return as_markdown(Table(["Tokens", "KL [95 %]", "Answers right [95 %]"], [lines]))


def training_table(rows: list[dict[str, Any]]) -> str:
    """The loss's terms at the start and at the end."""
    header = ["Compressor", "Seeds", "Steps", *(f"{title}, {when}" for title in TERMS.values() for when in WHEN)]
    lines = []
    for row in rows:
        values = (f"{row[when][term]:.2f}" for term in TERMS for when in WHEN)
        lines.append([row["name"], str(row["seeds"]), str(row["steps"]), *values])
    return as_markdown(Table(header, [lines]))


def _bracket(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def page(found: dict[str, Any]) -> str:
    """docs/fidelity.md."""
    parts = [INTRODUCTION]
    for name, (title, told) in PARTS.items():
        if name not in found["parts"]:
            continue
        part = found["parts"][name]
        parts += [f"## {title}", textwrap.fill(f"{told} {part['dialogues']:,} dialogues.", 120)]
        full, *others = part["rows"]
        for keep in sorted({row["keep"] for row in others}, reverse=True):
            some = [full, *(row for row in others if row["keep"] == keep)]
            parts += [f"**{percent(keep)} of the visual tokens**", table(some)]
        smallest = min(row["keep"] for row in others)
        some = [full, *(row for row in others if row["keep"] == smallest)]
        parts += [f"**{percent(smallest)}, by the kind of question**", kind_table(some)]
        if name == SIZED:
            by = "by the radius in pixels of the smallest thing that is asked about"
            parts += [f"**{percent(smallest)}, {by}**", size_table(some)]
    if looks := found["looks"]:
        told = LOOKED.format(keep=percent(looks["keep"]), share=percent(looks["rows"][0]["tokens_on_things"]))
        parts += ["## What P attends to", textwrap.fill(told, 120), look_table(looks["rows"])]
    if ceiling := found["ceiling"]:
        told = CEILING.format(**ceiling | {"keep": percent(ceiling["keep"])})
        parts += ["## The ceiling of P", textwrap.fill(told, 120), ceiling_table(ceiling["rows"])]
    if cost := found["cost"]:
        parts += ["## What it costs", COST, as_markdown(next(iter(tables(cost).values())))]
    parts += ["## Training", TRAINING, training_table(found["trainings"])]
    return "\n\n".join([*parts, stated("runs/fidelity.sh", found)]) + "\n"


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--made", type=Path, default=ROOT / "out" / "fidelity")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    parts = {}
    for name in PARTS:
        if (given.made / "asked" / name).is_dir():
            rows, dialogues = rows_of(given.made / "asked" / name)
            parts[name] = {"dialogues": dialogues, "rows": rows}
    learned = trainings(given.made / "embedded" / "shapes")
    told = {"commit": commit(), "versions": versions(), "hardware": hardware()}
    more = {"looks": "looks.json", "ceiling": "ceiling.json", "cost": "cost/results.json"}
    more = {name: _read(given.made / path) for name, path in more.items()}
    found = {**told, "parts": parts, "trainings": learned, **more}
    found = save(given.out / "results" / "fidelity.json", found)
    (given.out / "fidelity.md").write_text(page(found))


if __name__ == "__main__":
    main()
