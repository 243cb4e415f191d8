import io

import pytest
from rich.console import Console

from pinhole.view.table import kind_table, markdown_table, result_table, rich_table


def test_markdown_has_one_line_per_row_and_the_same_cells(results):
    lines = markdown_table(results).split("\n")
    assert lines[1] == "| --- |" + " ---: |" * 9
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = result_table(results)
    assert [cells[0], *cells[2:]] == [table.header, *(row for group in table.groups for row in group)]


def test_markdown_escapes_what_would_break_the_table(results):
    results["rows"][1]["method"] = "a|b<c>\nd"
    line = markdown_table(results).split("\n")[3]
    assert line.startswith("| a\\|b&lt;c>  d |".replace("  ", " "))


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_every_number(results, width):
    console = Console(file=io.StringIO(), width=width)
    results["rows"][1]["method"] = "[bold]x"
    console.print(rich_table(results))
    text = console.file.getvalue()
    assert max(map(len, text.split("\n"))) <= width
    assert "…" not in text
    assert "[bold]x" in text
    for row in result_table(results).groups[1]:
        for word in " ".join(row).split():
            assert word in text


def test_a_narrow_terminal_cuts_no_number_off(results):
    console = Console(file=io.StringIO(), width=80)
    for row in results["rows"]:
        row |= {"accuracy": [1.0] * 3, "average": 1.0, "ci95": [1.0, 1.0], "delta_ci95": [0.5, 1.0]}
    console.print(rich_table(results))
    assert "…" not in console.file.getvalue()


def test_larger_keeps_come_first_and_equal_ones_stay_together(results, row):
    results["rows"] += [row("sample", 0.5, 72, 0.7), row("random", 14, 14, 0.5), row("random", 0.1, 14, 0.5)]
    groups = [[line[:2] for line in group] for group in result_table(results).groups]
    assert groups == [
        [["Full", "144 of 144"]],
        [["Sample", "72 of 144"]],
        [["Sample", "14 of 144"], ["MetaCompress", "14 of 144"], ["Random", "14 of 144"]],
        [["Random", "14 of 144"]],
    ]


def test_kinds_that_a_row_lacks_are_dashes(results):
    del results["rows"][1]["by_kind"]["color"]
    table = kind_table(results)
    assert table.header == ["Method", "Visual tokens", "color", "count"]
    assert table.groups[1][0] == ["Sample", "14", "–", "50.1 %"]


def test_no_rows_is_an_error(results):
    with pytest.raises(ValueError, match="run at least one method"):
        markdown_table(results | {"rows": []})
