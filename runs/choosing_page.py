"""Writes docs/choosing.md: what each method needs, what it was measured to give, and which are left for which need.

    python runs/choosing_page.py

It takes methods.json, selection_time.json, contracts.json and serving.json of docs/results, and asks Pinhole which
methods learn and which of them vLLM can serve; no figure in the page is typed in.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from method_traits import UNBROKEN, Candidate, Need, best, candidates, label_at, needs, traits

from pinhole.evaluation.provenance import stated
from pinhole.view.cells import NONE, Row, full_row, method_label, percent
from pinhole.view.table import Table, as_markdown

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "choosing.md"
KEEPS, SHOWN = (0.5, 0.25, 0.1, 0.05), 0.1
INTRODUCTION = """# Choose a method

What you need decides which methods come into question; your model and your data decide which of these is best. This
page has the first as tables. For the second it has what was measured on the small LVLM that ships with Pinhole, as a
first guess: its images are 144 tokens and its LLM has four layers, and on a large model the order may be another.
[`pinhole choose`](choose.md) finds out on dialogues of yours, with the confidence that you ask for:

```bash
pinhole choose --model llava-hf/llava-1.5-7b-hf --data mine.jsonl --max-loss 5% --out chosen \\
    --methods divprune vispruner tome metacompress:compressor
```

Three questions narrow it down most:

- **Does a user ask more than once about an image?** Then what is kept should not depend on the first question. Methods
  that read the image alone decide once, and what they keep serves every question. Those that read the question keep
  what the first one needs, or with `turns=each` decide anew and read the whole dialogue again at every turn. Methods
  inside the LLM decide in the turn that brings the image.
- **What runs the model?** transformers runs every method. vLLM's cache holds as many tokens in each layer and must know
  how many before it encodes the picture: methods at the LLM's input whose count is known ([serving](serving.md)).
- **May something be trained?** A compressor is trained once for a model, from dialogues alone, and the LLM stays as it
  is; ADSC trains an adapter for the LLM ([training](training.md)).

`full` keeps everything, `oracle` must be told the answer: neither is listed here."""
LEFT = "The methods that answer a need; several needs leave what answers all of them."
NEEDS = """The most accurate of them: behind each name stands the share of right answers in dialogues of three turns,
of which {full} are right with every token. Where several names stand, their 95 % intervals reach that of the first:
which is best is open. A method inside the LLM cannot get low by itself in four layers, and works behind Sample where it
says so. {stated}"""
EACH = """"In vLLM" is told for LLaVA-1.5; [serving](serving.md) has what other models lack. "Runs on" counts the model
types that read images ({images} in all) and videos ({videos}) on which the method passes the contract as it is;
[compatibility](compatibility.md) has each, and settings with which more work. "Own work" is deciding and forming the
kept tokens of one image, with its share of the prefill that it shortens, at the size of LLaVA-1.5-7B. {timed} The
accuracies are those of above; what learned was trained for minutes, MetaCompress for 10 % alone."""
TURNS = """At {share} of the visual tokens. The first question decides what methods that read it keep, and later ones
live with that; `turns=each` follows the questions, and the LLM reads the whole dialogue again at every turn."""
SERVED = """{method} at keep {keep:g} in vLLM: {rate:.1f} times the requests a second, and {room:.1f} times as many
dialogues in the same KV space. [Efficiency](efficiency.md) says of which model and server, and what else it gives."""


def left_for(found: list[Candidate], asked: dict[str, Need]) -> str:
    """A line for each need: the methods that answer it, or those that do not where these are fewer."""
    everyone, lines = dict.fromkeys(one.name for one in found), []
    for need, answers in asked.items():
        left = dict.fromkeys(one.name for one in found if answers(one.traits))
        gone = [name for name in everyone if name not in left]
        named, prefix = (gone, "all but ") if len(gone) < len(left) else (list(left), "")
        lines.append(f"- **{need}:** {prefix + ', '.join(f'`{name}`' for name in named) if gone else 'all'}")
    return "\n".join(textwrap.fill(line, 120, subsequent_indent="  ", break_on_hyphens=False) for line in lines)


def needs_table(found: list[Candidate], asked: dict[str, Need]) -> Table:
    """A row for each need, with the most accurate of what is left."""
    rows = []
    for need, answers in asked.items():
        left = [one for one in found if answers(one.traits)]
        rows.append([need, *(best(left, keep) for keep in KEEPS)])
    return Table(["You need", *(f"Best at {100 * keep:g} %" for keep in KEEPS)], [rows])


def each_table(found: list[Candidate], timed: dict[str, Row]) -> Table:
    """A row for each candidate."""
    rows = []
    for one in found:
        own = timed.get(one.name)
        rows.append(
            [
                one.label,
                "yes" if one.traits.reads_question else "no",
                "yes" if one.traits.is_learned else "no",
                "yes" if one.traits.is_served else "no",
                f"{len(one.traits.images)}, {len(one.traits.videos)}",
                NONE if own is None else _own_work(own),
                *(percent(one.rows[keep]["average"]) if keep in one.rows else NONE for keep in KEEPS),
            ]
        )
    head = [
        "Method",
        "Reads the question",
        "Trained",
        "In vLLM",
        "Runs on",
        "Own work",
        *(f"{100 * keep:g} %" for keep in KEEPS),
    ]
    return Table(head, [rows])


def _own_work(row: Row) -> str:
    return f"{row['select_ms'] + row['form_ms']:.1f} ms ({100 * row['share_of_prefill']:.1g} %)"


def turns_table(found: list[Candidate]) -> Table:
    """Accuracy turn by turn of what reads the question, behind the most accurate that does not."""
    shown = [one for one in found if SHOWN in one.rows]
    readers = [one for one in shown if one.traits.reads_question]
    lead = max((one for one in shown if one not in readers), key=lambda one: one.rows[SHOWN]["average"])
    rows = [
        [label_at(one, SHOWN), "yes" if one in readers else "no", *map(percent, one.rows[SHOWN]["accuracy"])]
        for one in (lead, *readers)
    ]
    turns = len(rows[0]) - 2
    return Table(["Method", "Reads the question", *(f"Turn {turn + 1}" for turn in range(turns))], [rows])


def page(files: dict[str, Any]) -> str:
    """docs/choosing.md.

    Args:
        files: what the files of docs/results hold, by their names without ".json".
    """
    results, timed, contracts, server = (files[name] for name in ("methods", "selection_time", "contracts", "serving"))
    images, videos = (
        frozenset(row["family"] for row in contracts if row["modality"] == modality) for modality in ("image", "video")
    )
    full, found = full_row(results["rows"]), candidates(results, traits(contracts))
    assert full is not None
    goals = server["goals"]
    told = {
        "needs": NEEDS.format(
            full=percent(full["average"]).replace(" ", UNBROKEN), stated=stated("runs/methods.py", results)
        ),
        "each": EACH.format(images=len(images), videos=len(videos), timed=stated("runs/selection_time.py", timed)),
        "turns": TURNS.format(share=f"{100 * SHOWN:g} %"),
        "served": SERVED.format(
            method=method_label(server["method"]),
            keep=server["keep"],
            rate=goals["requests_per_s"]["reached"],
            room=goals["dialogues"]["reached"],
        ),
    }
    told = {name: textwrap.fill(text, 120, break_on_hyphens=False) for name, text in told.items()}
    work = {row["method"]: row for row in timed["rows"]}
    asked = needs(images, videos)
    parts = [INTRODUCTION, "## From what you need to what is left", LEFT, left_for(found, asked), told["needs"]]
    parts += [as_markdown(needs_table(found, asked)), "## Each method", told["each"]]
    parts += [as_markdown(each_table(found, work)), "## Several questions about one image", told["turns"]]
    parts += [as_markdown(turns_table(found)), "## On a server", told["served"]]
    parts.append("This page is written by `runs/choosing_page.py` from the files in `docs/results/`.")
    return "\n\n".join(parts) + "\n"


def read() -> dict[str, Any]:
    """What the files of docs/results hold."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


if __name__ == "__main__":
    PAGE.write_text(page(read()))
