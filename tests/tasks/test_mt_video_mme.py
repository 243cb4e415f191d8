"""MT-Video-MME: a video's questions as one dialogue, from Parquet or JSON."""

from __future__ import annotations

import json

import pytest

import official
from pinhole.data import read_dialogues
from pinhole.tasks import mt_video_mme
from pinhole.tasks.build import build
from pinhole.tasks.mt_video_mme import TASK
from pinhole.tasks.task import Recipe


@pytest.mark.parametrize("layout", ["parquet", "json"])
def test_a_videos_questions_become_a_dialogue(tmp_path, layout):
    source = official.video_mme(tmp_path / "source")
    if layout == "json":
        (source / "videomme" / "test-00000-of-00001.parquet").unlink()
        (source / "videomme.json").write_text(json.dumps(official.video_mme_rows(2)))
    build(TASK, source, tmp_path / "out")
    first, second = read_dialogues(tmp_path / "out", videos=True)
    assert (first.id, first.images, [video.name for video in first.videos]) == ("001-0", (), ["v1.mp4"])
    assert [turn.answer for turn in second.turns] == ["B", "C", "D"]
    turn = second.turns[1]
    assert turn.question == (
        "How many are there in part 2?\nA. None.\nB. One.\nC. Two.\nD. Three.\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert (turn.references, turn.scoring, turn.kind) == (("C. Two.",), "choice", "long")


def test_only_what_can_use_videos_reads_them(tmp_path):
    build(TASK, official.video_mme(tmp_path / "source"), tmp_path / "out")
    with pytest.raises(ValueError, match="has dialogues about videos, and only pictures can be used here"):
        read_dialogues(tmp_path / "out")


def test_the_official_rows_give_900_dialogues_or_are_refused(tmp_path):
    rows = official.video_mme_rows(900)
    path = tmp_path / "videomme.json"
    path.write_text(json.dumps(rows))
    recipe = Recipe("test", (path, tmp_path / "data"), "")
    assert len(mt_video_mme._dialogues(recipe)) == 900
    rows[0]["video_id"] = rows[1]["video_id"] = "900"
    path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="gives 899 dialogues where that gives 900"):
        mt_video_mme._dialogues(recipe)


def test_rows_that_lack_something_are_named(tmp_path):
    rows = official.video_mme_rows(1)
    path = tmp_path / "videomme.json"
    recipe = Recipe("test", (path, tmp_path / "data"), "")
    path.write_text(json.dumps([rows[0], {name: value for name, value in rows[1].items() if name != "options"}]))
    with pytest.raises(ValueError, match=r"row 2 of .* lacks options"):
        mt_video_mme._dialogues(recipe)
    path.write_text(json.dumps([*rows[:2], rows[2] | {"answer": "E"}]))
    with pytest.raises(ValueError, match="question 001-3: 'E' is none of the options"):
        mt_video_mme._dialogues(recipe)
    path.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        mt_video_mme._dialogues(recipe)
