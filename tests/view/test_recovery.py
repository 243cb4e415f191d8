"""What newer results know more: the recovery rate with its interval, and accuracy by size."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pinhole.view.cells import cells, columns
from pinhole.view.report import write_report
from pinhole.view.table import kind_table, markdown_table, result_table, rich_table


@pytest.fixture
def recovered(results):
    results["rows"][0] |= {"recovery": None, "recovery_ci95": None}
    for row, ends in zip(results["rows"][1:], ([0.6021, 0.6733], None), strict=True):
        row |= {"recovery": row["average"] / 0.943, "recovery_ci95": ends}
    return results


def test_the_column_stands_beside_the_accuracy(recovered):
    table = result_table(recovered)
    at = table.header.index("Of full [95 %]")
    assert table.header[at - 1] == "Mean [95 %]"
    assert [row[at] for group in table.groups for row in group] == [
        "–",
        "63.7 % [60.2, 67.3]",
        "75.5 %",
    ]
    assert "| 63.7 % [60.2, 67.3] |" in markdown_table(recovered)


def test_a_model_that_is_never_right_gives_no_rate(recovered, row):
    unknown = row("sample", 0.1, 14, 0.0, recovery=None, recovery_ci95=None)
    assert cells(unknown, "Sample", None, recovers=True)[6] == "–"
    assert len(cells(unknown, "Sample", None)) == len(columns([unknown]))


def test_the_terminal_shows_it_within_its_width(recovered):
    console = Console(file=io.StringIO(), width=80)
    console.print(rich_table(recovered))
    text = console.file.getvalue()
    assert max(map(len, text.split("\n"))) <= 80
    assert "…" not in text
    for word in ("[60.2,", "67.3]", "75.5 %"):
        assert word in text


def test_the_report_explains_it(recovered, results, tmp_path):
    write_report(tmp_path / "with.html", recovered, [])
    page = (tmp_path / "with.html").read_text()
    assert "[60.2, 67.3]" in page
    assert "the recovery rate" in page
    for row in results["rows"]:
        del row["recovery"]
    write_report(tmp_path / "without.html", results, [])
    assert "recovery rate" not in (tmp_path / "without.html").read_text()


def test_the_report_has_a_table_by_size_where_the_results_know_it(results, tmp_path):
    write_report(tmp_path / "without.html", results, [])
    assert "by size" not in (tmp_path / "without.html").read_text()
    results["rows"][2]["by_size"] = {"under 1 %": 0.4321}
    table = kind_table(results, "by_size")
    assert table.header == ["Method", "Visual tokens", "under 1 %"]
    assert [row[-1] for group in table.groups for row in group] == ["–", "–", "43.2 %"]
    write_report(tmp_path / "with.html", results, [])
    page = (tmp_path / "with.html").read_text()
    assert "Accuracy by size" in page
    assert "43.2 %" in page
