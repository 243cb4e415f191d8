"""ConvBench: conversations from the release's workbook."""

from __future__ import annotations

import pytest

import official
from pinhole.data import read_dialogues
from pinhole.tasks.build import build
from pinhole.tasks.convbench import TASK
from pinhole.tasks.sheet import read_sheet


def test_a_workbook_becomes_conversations(tmp_path):
    build(TASK, official.convbench(tmp_path / "source"), tmp_path / "out")
    first, second = read_dialogues(tmp_path / "out")
    assert (first.id, second.id, second.images[0].name) == ("1", "2", "2.png")
    assert [turn.kind for turn in first.turns] == ["perception", "reasoning", "creation"]
    assert [turn.question for turn in first.turns] == [f"The {level} question about 1?" for level in official.LEVELS]
    assert [turn.answer for turn in second.turns] == [f"The {level} verified answer to 2." for level in official.LEVELS]
    assert [turn.scoring for turn in first.turns] == ["judge"] * 3
    assert first.turns[1].note == "A car & a man, number 1."
    assert first.turns[2].note == "A car & a man, number 1.\nWhat matters in the third answer: It rhymes."


def test_the_row_whose_picture_the_release_lacks_is_left_out_and_no_other(tmp_path):
    source = official.convbench(tmp_path / "source", 578)
    (source / "visit_bench_images" / "131.png").unlink()
    assert build(TASK, source, tmp_path / "out")["dialogues"] == 577
    assert "131" not in {dialogue.id for dialogue in read_dialogues(tmp_path / "out")}
    (source / "visit_bench_images" / "132.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 577 files of the pictures are missing .*ConvBench:\n.*132\.png$"):
        build(TASK, source, tmp_path / "other")


def test_the_first_release_without_answers_is_refused(tmp_path):
    source = official.convbench(tmp_path / "source")
    rows = [{name: text for name, text in official.convbench_row(1).items() if "answer" not in name}]
    official.workbook(source / "ConvBench.xlsx", rows)
    with pytest.raises(ValueError, match=r"row 2 of .*xlsx has nothing under first_turn_answer, second_.*no answers"):
        build(TASK, source, tmp_path / "out")


def test_what_is_no_workbook_is_refused(tmp_path):
    (tmp_path / "sheet.xlsx").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is not an Excel workbook that can be read"):
        read_sheet(tmp_path / "sheet.xlsx")
