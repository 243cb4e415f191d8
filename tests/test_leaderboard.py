"""The leaderboard is the one that the committed results give, and ranks as it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
script = runpy.run_path(str(ROOT / "runs" / "leaderboard.py"))
page, read = script["page"], script["read"]


def row(method, keep, average, spread=0.02, **more):
    return {
        "method": method,
        "keep": keep,
        "settings": {},
        "average": average,
        "ci95": [average - spread, average + spread],
        "visual_tokens": 100,
        "kept_tokens": 100 * keep,
        "flops": 1e9 * keep,
        "dialogues": 7,
    } | more


def results(*rows, **more):
    hardware = {"gpu": None, "cpu": "a CPU", "cores": 2}
    return {"model": "m", "data": "d", "commit": "0123456789abcdef", "hardware": hardware, "rows": [*rows]} | more


def table_below(text, heading):
    lines = text.split(heading)[1].strip().split("\n\n")[0].split("\n")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_is_the_generated_one():
    again = "run .venv/bin/python runs/leaderboard.py"
    assert (ROOT / "docs" / "leaderboard.md").read_text() == page(read()), again


def test_the_most_accurate_comes_first_and_what_reaches_it_is_bold():
    held = results(
        row("full", 1.0, 0.9), row("sample", 0.1, 0.6), row("tome", 0.1, 0.71), row("divprune", 0.1, 0.7),
        row("spatial", 0.5, 0.8),
    )  # fmt: skip
    text = page({"a.json": held})
    tenth = table_below(text, "### 10 % of the visual tokens")
    assert [line[0] for line in tenth] == ["1. **ToMe**", "2. **DivPrune**", "3. Sample"]
    assert tenth[0][2:6] == ["71.0 % [69.0, 73.0]", "78.9 %", "10.0 %", "7"]
    assert text.index("### 50 %") < text.index("### 10 %")
    assert "Uncompressed: 90.0 % of the turns on 7 dialogues." in text


def test_files_of_one_model_and_data_are_ranked_together_and_others_apart():
    files = {
        "b.json": results(row("full", 1.0, 0.9), row("sample", 0.1, 0.5)),
        "a.json": results(row("full", 1.0, 0.8), row("tome", 0.1, 0.7)),
        "c.json": results(row("sample", 0.1, 0.3), data="e"),
    }
    text = page(files)
    first, second = table_below(text, "### 10 % of the visual tokens")
    assert (first[-1], second[-1]) == ("[a.json](results/a.json)", "[b.json](results/b.json)")
    assert (first[3], second[3]) == ("87.5 %", "55.6 %")
    [alone] = table_below(text, "## m on e\n\n### 10 % of the visual tokens")
    assert alone[3:5] == ["–", "–"]
    assert "| [c.json](results/c.json) | `0123456789` | a CPU, 2 cores |" in text


def test_the_recovery_has_its_interval_where_it_is_known():
    known = row("tome", 0.1, 0.7, recovery=0.7778, recovery_ci95=[0.74, 0.81])
    [line] = table_below(page({"a.json": results(row("full", 1.0, 0.9), known)}), "### 10 % of the visual tokens")
    assert line[3] == "77.8 % [74.0, 81.0]"


@pytest.mark.parametrize("other", [[{"family": "llava"}], {"rows": [{"method": "full", "ms": {}}]}, {"rows": []}])
def test_files_of_another_layout_are_passed_over(other):
    held = results(row("full", 1.0, 0.9))
    assert page({"a.json": held, "b.json": other}) == page({"a.json": held})
