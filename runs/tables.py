"""Prints what a run found beside what the paper's table says; with --publish it goes into docs/tables.md.

    python runs/tables.py table_4 --rows full sample metacompress --results out/tables/table_4/results.json [--publish]

The rows are named in the order of the results. Of lmms.json (pinhole eval --tasks) every measure is compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from published import TABLES, Published

from pinhole.evaluation.provenance import stated
from pinhole.evaluation.results import save
from pinhole.view.cells import NONE
from pinhole.view.table import Table, as_markdown

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "tables.md"
INTRODUCTION = """# The papers' tables

Each script named below reproduces one table of a paper, given a checkpoint and data, and prints what it found beside
what the paper says. With `--embedded` it runs on the LVLM that ships with Pinhole, which is what stands here as
"embedded": another model on other data, so the order of the methods can be compared with the paper's, not the numbers.
`make tables` runs all of them in this way. In %, with 95 % bootstrap intervals over dialogues; one seed each.

On your checkpoint: `runs/table_4.sh --model llava-hf/llava-1.5-7b-hf --train data/mt-gqa-train --test data/mt-gqa`; the
head of each script says what it takes, [benchmarks.md](benchmarks.md) how the data is built."""

Found = dict[str, dict[str, Any]]
"""By row: "value" in %, and "ci95" where there is one."""


def found(table: Published, results: dict[str, Any], names: list[str]) -> Found:
    """What the results say for a table, by row.

    Raises:
        ValueError: there are not as many rows as names.
    """
    rows = results["rows"]
    if len(rows) != len(names):
        raise ValueError(f"the results have {len(rows)} rows and --rows names {len(names)}: name each, in order")
    if "tasks" in rows[0]:
        return {name: {"value": 100 * left(row, rows[0])} for name, row in zip(names[1:], rows[1:], strict=True)}
    if table.value == "cost":
        full, *_, last = rows
        saved = {what: {"value": 100 * (1 - last[key] / full[key])} for what, key in COSTS.items()}
        return {**saved, "accuracy left": _percent(last, "recovery", "recovery_ci95")}
    if table.value == "recovery":
        return {n: _percent(r, "recovery", "recovery_ci95") for n, r in zip(names[1:], rows[1:], strict=True)}
    return {name: _percent(row, "average", "ci95") for name, row in zip(names, rows, strict=True)}


COSTS = {"FLOPs of the prefill saved": "flops", "KV cache saved": "kv_bytes"}


def left(row: dict[str, Any], full: dict[str, Any]) -> float:
    """What a row of lmms.json has left of the uncompressed model's: the mean over tasks of the mean over measures."""
    shares = []
    for task, measures in full["tasks"].items():
        of_task = [row["tasks"][task][name] / value for name, value in measures.items() if value and _counts(name)]
        shares.append(statistics.mean(of_task))
    return statistics.mean(shares)


def _counts(measure: str) -> bool:
    return "stderr" not in measure


def _percent(row: dict[str, Any], value: str, interval: str) -> dict[str, Any]:
    return {"value": 100 * row[value], "ci95": [100 * end for end in row[interval]]}


def compared(table: Published, runs: list[dict[str, Any]]) -> Table:
    """A line for each run and for each of the paper's columns."""
    names = list(dict.fromkeys(name for run in [*(r["rows"] for r in runs), *table.columns.values()] for name in run))
    lines = [[run["name"], *(_cell(run["rows"].get(name)) for name in names)] for run in runs]
    paper = [
        [f"paper: {column}", *(f"{rows[name]:.2f}".removesuffix("0") if name in rows else NONE for name in names)]
        for column, rows in table.columns.items()
    ]
    return Table(["", *names], [lines, paper])


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return NONE
    if "ci95" not in row:
        return f"{row['value']:.1f}"
    low, high = row["ci95"]
    return f"{row['value']:.1f} [{low:.1f}, {high:.1f}]"


def page(published: dict[str, list[dict[str, Any]]]) -> str:
    """docs/tables.md: the tables that there are runs of."""
    parts = [INTRODUCTION]
    for name, table in TABLES.items():
        if runs := published.get(name):
            parts += [f"## {table.title}", table.note, as_markdown(compared(table, runs))]
            parts.append(f"{runs[0]['dialogues']} dialogues. {stated(f'runs/{script(name)}', runs[0])}")
    return "\n\n".join(part for part in parts if part) + "\n"


def script(table: str) -> str:
    """The name of the table's script."""
    return next(path.name for path in sorted((ROOT / "runs").glob("*.sh")) if path.stem.startswith(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--rows", nargs="+", required=True)
    parser.add_argument("--results", nargs="+", type=Path, required=True)
    parser.add_argument("--publish", action="store_true", help="into docs/results and docs/tables.md")
    given = parser.parse_args()
    table, runs = TABLES[given.table], []
    for path in given.results:
        results = json.loads(path.read_text())
        rows = found(table, results, given.rows)
        told = {key: results.get(key) for key in ("commit", "versions", "hardware")}
        name = f"{results.get('model', path.parent.name)}, {Path(results.get('data', 'lmms-eval')).name}"
        dialogues = results["rows"][0].get("dialogues")
        runs.append({"name": name, **told, "dialogues": dialogues, "rows": rows})
    print(f"{table.title}\n\n{as_markdown(compared(table, runs))}")
    if given.publish:
        save(RESULTS / f"{given.table}.json", {"runs": runs})
        files = {name: RESULTS / f"{name}.json" for name in TABLES}
        PAGE.write_text(page({n: json.loads(f.read_text())["runs"] for n, f in files.items() if f.exists()}))


if __name__ == "__main__":
    main()
