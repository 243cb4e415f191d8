"""docs/relevance.md from what runs/relevance_ablation.py found."""

from __future__ import annotations

import textwrap
from typing import Any

from pinhole.evaluation.provenance import stated
from pinhole.view.cells import NONE, percent
from pinhole.view.table import Table, as_markdown

SCRIPT = "runs/relevance_ablation.py"
INTRODUCTION = """# The explainability compressor on the embedded LVLM

The ablations of its paper (ICLR 2026, arXiv 2506.01097) on the LVLM that ships with Pinhole: labels weighted by
gradients or by the mean over heads, the depth of the network, and which of the LLM's layers (from 0) has the attention
that it reads.

"Of R_v" is the share of the rollout's relevance that the kept tokens have, the mean over images of held-out questions:
those that the network chooses, those that the attention it reads would choose, and the largest ones of R_v itself,
which nothing can exceed. "Right" is the accuracy in held-out three-turn dialogues, chosen at the first question, with
95 % bootstrap intervals over dialogues. One seed each."""


def page(found: dict[str, Any]) -> str:
    """The Markdown page."""
    rows, keeps = found["rows"], list(found["rows"][0]["dialogues"])
    kept = " and ".join(percent(float(keep)) for keep in keeps)
    made = (
        f"{kept} of the visual tokens are kept. Each network learned {found['epochs']} times through its labels; R_v "
        f"is measured on {found['held_labels']['images']} images. The uncompressed model answers "
        f"{_right(found['uncompressed'])} right. Of the uncompressed accuracy the paper keeps 95.5, 96.9, 96.5 and "
        "96.0 % with 3, 5, 7 and 10 layers, and by the relevance itself 96 to 97 % weighted by the mean, 98.8 to "
        "99.3 % by gradients."
    )
    parts = [INTRODUCTION, textwrap.fill(made, 120), as_markdown(_table(rows, keeps))]
    return "\n\n".join([*parts, textwrap.fill(stated(SCRIPT, found), 120)]) + "\n"


def _table(rows: list[dict[str, Any]], keeps: list[str]) -> Table:
    header = ["Variant"]
    for keep in keeps:
        share = percent(float(keep))
        header += [f"Of R_v at {share}: network", "attention", "R_v", f"Right at {share} [95 %]"]
    return Table(header, [[[row["variant"], *(cell for keep in keeps for cell in _cells(row, keep))] for row in rows]])


def _cells(row: dict[str, Any], keep: str) -> list[str]:
    shares = row.get("share_of_relevance", {})
    told = [percent(shares[name][keep]) if name in shares else NONE for name in ("network", "attention", "relevance")]
    return [*told, _right(row["dialogues"][keep])]


def _right(row: dict[str, Any]) -> str:
    low, high = row["ci95"]
    return f"{percent(row['average'])} [{100 * low:.1f}, {100 * high:.1f}]"
