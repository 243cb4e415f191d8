"""MT-VQA-v2: dialogues from VQA v2's question and annotation files."""

from __future__ import annotations

import json

import pytest

import official
from pinhole.data import read_dialogues
from pinhole.evaluation.scoring import score
from pinhole.tasks import mt_vqa_v2
from pinhole.tasks.build import build
from pinhole.tasks.mt_vqa_v2 import TASK


def test_questions_meet_their_annotations_and_pictures(tmp_path):
    build(TASK, official.vqa(tmp_path / "vqa", {42: 4, 7: 3, 9: 1}), tmp_path / "out")
    first, second = read_dialogues(tmp_path / "out")
    assert (first.id, second.id) == ("42-0", "7-0")
    assert first.images[0].name == "COCO_val2014_000000000042.jpg"
    turn = first.turns[1]
    assert turn.question == "What is 1?\nAnswer the question using a single word or phrase."
    assert (turn.answer, turn.kind, turn.scoring) == ("net", "other", "vqa")
    assert turn.references == ("net",) * 6 + ("netting",) * 3 + ("mesh",)
    assert [score(answer, turn) for answer in ("Net.", "the netting", "mesh", "rope")] == pytest.approx(
        [1, 0.9, 0.3, 0]
    )


def test_the_choice_is_the_same_each_time_and_in_source_order(tmp_path, monkeypatch):
    monkeypatch.setattr(mt_vqa_v2, "DIALOGUES", 5)
    source = official.vqa(tmp_path / "vqa", dict.fromkeys(range(1, 8), 6))
    build(TASK, source, tmp_path / "out")
    chosen = [dialogue.id for dialogue in read_dialogues(tmp_path / "out")]
    everything = [f"{image}-{number}" for image in range(1, 8) for number in (0, 1)]
    assert chosen == [name for name in everything if name in chosen]
    assert len(chosen) == 5
    assert chosen == ["1-1", "3-0", "4-1", "5-0", "7-1"], "another choice is another benchmark"


def test_the_training_part_has_all_dialogues(tmp_path, monkeypatch):
    monkeypatch.setattr(mt_vqa_v2, "DIALOGUES", 1)
    build(TASK, official.vqa(tmp_path / "vqa", {1: 6}, "train"), tmp_path / "out", "train")
    dialogues = read_dialogues(tmp_path / "out")
    assert [dialogue.images[0].name for dialogue in dialogues] == ["COCO_train2014_000000000001.jpg"] * 2


def test_questions_without_annotations_and_other_files_are_refused(tmp_path):
    source = official.vqa(tmp_path / "vqa", {1: 3})
    annotations = source / "v2_mscoco_val2014_annotations.json"
    content = json.loads(annotations.read_text())
    annotations.write_text(json.dumps({"annotations": content["annotations"][:2]}))
    with pytest.raises(ValueError, match=r"lacks 1 of the 3 questions .* such as 1002: take both from one release"):
        build(TASK, source, tmp_path / "out")
    del content["annotations"][1]["answers"]
    annotations.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="the annotation of question 1001 lacks 'answers'"):
        build(TASK, source, tmp_path / "out")
    annotations.write_text('{"annotations": [')
    with pytest.raises(ValueError, match=r"annotations\.json cannot be read"):
        build(TASK, source, tmp_path / "out")
    annotations.write_text("[]")
    with pytest.raises(ValueError, match='it has no list "annotations"; the release is at https://visualqa'):
        build(TASK, source, tmp_path / "out")
