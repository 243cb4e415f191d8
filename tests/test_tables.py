from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "runs")
        yield importlib.import_module("tables")


def row(average: float, **more) -> dict:
    return {"average": average, "ci95": [average - 0.01, average + 0.01], "dialogues": 7, **more}


def test_the_page_says_what_the_committed_results_say(tables):
    files = {name: ROOT / "docs" / "results" / f"{name}.json" for name in tables.TABLES}
    published = {name: json.loads(file.read_text())["runs"] for name, file in files.items()}
    assert (ROOT / "docs" / "tables.md").read_text() == tables.page(published)


def test_every_published_row_is_one_that_the_script_finds(tables):
    for name, table in tables.TABLES.items():
        [run, *_] = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text())["runs"]
        for column, rows in table.columns.items():
            assert rows.keys() <= run["rows"].keys(), f"{name}: {column}"


def test_accuracies_stand_beside_the_paper_s_by_their_names(tables):
    table = tables.TABLES["table_4"]
    found = tables.found(table, {"rows": [row(0.9), row(0.5), row(0.75)]}, ["full", "sample", "metacompress"])
    run = {"name": "mine, test", "rows": found}
    shown = tables.compared(table, [run])
    lines = {line[0]: dict(zip(shown.header, line, strict=True)) for group in shown.groups for line in group}
    assert lines["mine, test"]["metacompress"] == "75.0 [74.0, 76.0]"
    assert lines["mine, test"]["tome"] == "–"
    assert lines["paper: LLaVA-1.5-7B, MT-GQA"]["metacompress"] == "58.43"


def test_rows_without_a_name_are_refused(tables):
    with pytest.raises(ValueError, match="2 rows and --rows names 1"):
        tables.found(tables.TABLES["table_4"], {"rows": [row(0.9), row(0.5)]}, ["full"])


def test_adsc_saves_what_its_row_has_less_than_the_uncompressed(tables):
    full = row(0.8, flops=1000.0, kv_bytes=400.0)
    learned = row(0.76, flops=450.0, kv_bytes=100.0, recovery=0.95, recovery_ci95=[0.9, 1.0])
    found = tables.found(tables.TABLES["adsc_main"], {"rows": [full, learned]}, ["full", "adsc"])
    assert found["FLOPs of the prefill saved"]["value"] == pytest.approx(55)
    assert found["KV cache saved"]["value"] == pytest.approx(75)
    assert found["accuracy left"] == {"value": 95, "ci95": [90, 100]}


def test_of_lmms_eval_every_measure_counts_as_much_within_its_task_and_errors_do_not(tables):
    full = {"tasks": {"a": {"acc,none": 0.8, "acc_stderr,none": 0.1}, "b": {"x": 10.0, "y": 4.0}}}
    less = {"tasks": {"a": {"acc,none": 0.6, "acc_stderr,none": 0.3}, "b": {"x": 5.0, "y": 4.0}}}
    found = tables.found(tables.TABLES["explainability_main"], {"rows": [full, less]}, ["full", "relevance, 50 %"])
    assert found == {"relevance, 50 %": {"value": pytest.approx(100 * (0.75 + 0.75) / 2)}}


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "runs").glob("table_[0-9]*.sh")))
def test_a_script_without_a_model_says_what_to_give(script):
    done = subprocess.run([ROOT / "runs" / script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "give --embedded, or --model, --train and --test" in done.stderr
