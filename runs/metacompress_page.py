"""docs/metacompress.md from what runs/metacompress_study.py found."""

from __future__ import annotations

import textwrap
from typing import Any

from pinhole.evaluation.provenance import stated
from pinhole.view.cells import NONE, percent, points
from pinhole.view.overlap_sheet import CUES

SCRIPT = "runs/metacompress_study.py"
PAPER = {
    ("KL", None): 61.98,
    ("KL + entropy", None): 62.42,
    ("KL + collapse", None): 56.34,
    ("KL + collapse", 0.01): 62.13,
    ("all", 0.01): 62.70,
}
"""Accuracy in %, by losses and clipping: LLaVA-NeXT-7B on MT-GQA, a tenth of the tokens (CVPR 2026, weights 1)."""
INTRODUCTION = """# MetaCompress on the embedded LVLM

Dialogues about drawn scenes, the model's own answers as history, a tenth of the visual tokens (14 of 144) where nothing
else is said. "Over Sample" is the paired difference to equidistant sampling at the same number of tokens, in points.
Brackets are 95 % bootstrap intervals over dialogues: of these dialogues, not of other seeds of the training, of which
there is one for each row."""


def page(found: dict[str, Any]) -> str:
    """The Markdown page of the parts there are."""
    made = {"ablation": _ablation, "rates": _rates, "transfer": _transfer, "overlap": _overlap}
    parts = [INTRODUCTION]
    for name, write in made.items():
        if name in found:
            heading, told, table = write(found[name])
            parts += [heading, textwrap.fill(told, 120), table, textwrap.fill(stated(SCRIPT, found[name]), 120)]
    return "\n\n".join(parts) + "\n"


def _table(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def _accuracy(row: dict[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{percent(row['average'])} [{100 * low:.1f}, {100 * high:.1f}]"


def _difference(value: float | None, interval: list[float] | None) -> str:
    return NONE if value is None or interval is None else f"{points(value)} [{', '.join(map(points, interval))}]"


def _over_sample(row: dict[str, Any]) -> str:
    return _difference(row["delta_to_sample"], row["delta_ci95"])


def _trained(part: dict[str, Any], samples: int | None = None) -> str:
    sizes = part["sizes"]
    return f"trained on {samples or sizes['samples']} dialogues, {sizes['epochs']} times"


def _ablation(part: dict[str, Any]) -> list[str]:
    rows = [
        ["Full", *[NONE] * 5, _accuracy(part["full"]), _over_sample(part["full"]), NONE],
        ["Sample", *[NONE] * 5, _accuracy(part["sample"]), NONE, NONE],
    ]
    for row in part["rows"]:
        paper = PAPER[row["losses"], row["clip"]] if row["weight"] in (0, 1) else None
        start = [row["losses"], *(NONE if row[name] is None else f"{row[name]:g}" for name in ("weight", "clip"))]
        if "failed" in row:
            rows.append([*start, *[NONE] * 3, f"stopped: {row['failed'].partition('.')[0]}", NONE, NONE])
        else:
            terms = [f"{row['terms'][name]:.2f}" for name in ("kl", "entropy", "collapse")]
            told = NONE if paper is None else f"{paper:.2f} %"
            rows.append([*start, *terms, _accuracy(row), _over_sample(row), told])
    header = [
        "Losses",
        "Weight",
        "Clipped at",
        "KL",
        "Entropy",
        "Collapse",
        "Right [95 %]",
        "Over Sample [95 %]",
        "Paper",
    ]
    return [
        "## The three losses",
        f"Each compressor is {_trained(part)}; the weight is that of entropy and collapse, where they are on. KL, "
        "entropy of P's rows (nats) and the largest column sum of P are means over the last 20 steps. Optimiser (Adam) "
        "and learning rate are Pinhole's. Adam divides by the gradient's own size, so that clipping, which multiplies "
        "all of it, changes less than it would in plain gradient descent. The paper's column is LLaVA-NeXT-7B on "
        "MT-GQA at a tenth of its tokens.",
        _table(header, rows),
    ]


def _rates(part: dict[str, Any]) -> list[str]:
    keeps = list(dict.fromkeys(row["keep"] for row in part["rows"] if row["method"] != "full"))
    kinds = list(dict.fromkeys((row["method"], row["trained_at"]) for row in part["rows"] if row["method"] != "full"))
    rows = []
    for method, trained_at in kinds:
        name = "Sample" if trained_at is None else f"MetaCompress, trained at {trained_at}"
        by_keep = {r["keep"]: r for r in part["rows"] if (r["method"], r["trained_at"]) == (method, trained_at)}
        rows.append([name, *(_accuracy(by_keep[keep]) for keep in keeps)])
    gained = {row["keep"]: row for row in part["all_rates_to_one"]}
    rows.append(["all rates over one", *(_difference(gained[k]["points"], gained[k]["ci95"]) for k in keeps)])
    return [
        "## One compressor for all rates",
        f"Both are {_trained(part)}, entropy and collapse weighted by 0.02; one at a tenth of the tokens, the other at "
        "a rate that is drawn anew for each step.",
        _table(["", *(f"{100 * keep:g} % kept" for keep in keeps)], rows),
    ]


def _transfer(part: dict[str, Any]) -> list[str]:
    asked = part["asked"]
    names = {"full": "Full", "sample": "Sample"}
    lines: dict[str, list[str]] = {}
    for table in asked.values():
        for row in table["rows"]:
            name = names.get(row["method"]) or f"MetaCompress, trained on {row['trained_on']}"
            lines.setdefault(name, [name]).append(_accuracy(row))
    other = ["trained on the other set over its own"]
    other += [_difference(table["other_to_own"]["points"], table["other_to_own"]["ci95"]) for table in asked.values()]
    told = "; ".join(f"{name} asks for {', '.join(table['kinds'])}" for name, table in asked.items())
    return [
        "## Transfer between two data sets",
        f"The scenes are drawn alike, the questions are of other kinds: {told}. Compressors of A and of B are "
        f"{_trained(part, part['samples'])}, with the questions of that set alone; that of A and B with all questions "
        f"of {part['sizes']['samples']} dialogues.",
        _table(["", *(f"asked {name}" for name in asked)], [*lines.values(), other]),
    ]


def _overlap(part: dict[str, Any]) -> list[str]:
    cues = list(part["rows"][0]["cues"])
    rows = []
    for row in part["rows"]:
        shares = [{"average": row["cues"][cue]["overlap"], "ci95": row["cues"][cue]["ci95"]} for cue in cues]
        kl = f"{row['kl_start']:.2f} to {row['kl_end']:.2f}" if "kl_end" in row else NONE
        rows.append([row["p"], percent(row["kept"]), *map(_accuracy, shares), percent(row["chance"]), kl])
    header = ["P", "Anchors that differ", *(f"{CUES[cue]} [95 %]" for cue in cues), "By chance", "KL of the fit"]
    return [
        "## What P keeps, beside what attention ranks first",
        f"Of {part['rows'][0]['dialogues']} dialogues. A kept token's anchor is the visual token that weighs most in "
        "it; the columns say which share of the m tokens that attention ranks first are among the anchors, and what "
        f"that share would be at random. The first P is fitted to each dialogue, {part['steps']} steps (Algorithm 2 of "
        "the paper, which found 1.71 % in common with [CLS] attention on its models).",
        _table(header, rows),
    ]
