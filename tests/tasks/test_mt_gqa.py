"""MT-GQA: dialogues from GQA's question files, and the count that the official one must give."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import official
from pinhole.data import read_dialogues
from pinhole.tasks import mt_gqa
from pinhole.tasks.build import build
from pinhole.tasks.mt_gqa import TASK
from pinhole.tasks.task import Recipe, in_threes


@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_every_question_is_used_once_in_order_and_floor_of_a_third_of_them(images):
    questions = list(enumerate(images))
    found = in_threes(questions, lambda question: question[1])
    used = [question for _, _, group in found for question in group]
    assert len(used) == len({*used})
    counts = Counter(images)
    assert Counter(image for image, _, _ in found) == +Counter({image: q // 3 for image, q in counts.items()})
    for image in counts:
        of_image = [question for name, _, group in found if name == image for question in group]
        assert of_image == [question for question in questions if question[1] == image][: 3 * (counts[image] // 3)]
        assert [number for name, number, _ in found if name == image] == list(range(counts[image] // 3))
    assert all(len(group) == 3 for _, _, group in found)


def test_a_question_file_becomes_dialogues(tmp_path):
    build(TASK, official.gqa(tmp_path / "gqa", {"n1": 7, "n2": 2, "n3": 3}), tmp_path / "out")
    dialogues = read_dialogues(tmp_path / "out")
    assert [dialogue.id for dialogue in dialogues] == ["n1-0", "n1-1", "n3-0"]
    first, second = dialogues[0].turns, dialogues[1].turns
    assert first[0].question == "Question 0 of n1?\nAnswer the question using a single word or phrase."
    assert [turn.question.split()[1] for turn in (*first, *second)] == list("012345")
    assert [turn.answer for turn in first] == ["yes", "no", "red"]
    assert [turn.kind for turn in first] == ["verify", "query", "verify"]
    assert [turn.scoring for turn in first] == ["exact"] * 3
    assert dialogues[2].load_images()[0].getpixel((0, 0)) == pytest.approx((20, 0, 0), abs=3)


def test_the_training_part_is_another_file(tmp_path):
    source = official.gqa(tmp_path / "gqa", {"a": 3}, "train")
    assert build(TASK, source, tmp_path / "out", "train", "")["split"] == "train"
    assert read_dialogues(tmp_path / "out")[0].turns[0].question == "Question 0 of a?"
    with pytest.raises(ValueError, match=r"testdev_balanced_questions\.json"):
        build(TASK, source, tmp_path / "other")


def counts_of(images: int, questions: int, dialogues: int) -> dict[str, int]:
    """Questions for each image, such that floor(q / 3) adds up to `dialogues`."""
    left = questions - 3 * dialogues
    counts = [3 * (dialogues // images + (i < dialogues % images)) for i in range(images)]
    for i in range(images):
        counts[i] += min(2, left)
        left -= min(2, left)
    assert left == 0
    return {f"n{i}": count for i, count in enumerate(counts)}


@pytest.mark.parametrize(("dialogues", "right"), [(4_061, True), (4_062, False)])
def test_the_official_testdev_gives_its_dialogues_or_is_refused(tmp_path, dialogues, right):
    path = tmp_path / "testdev_balanced_questions.json"
    path.write_text(json.dumps(official.gqa_questions(counts_of(398, 12_578, dialogues))))
    recipe = Recipe("testdev", (path, tmp_path / "images"), "")
    if right:
        assert len(mt_gqa._dialogues(recipe)) == 4_061
    else:
        with pytest.raises(ValueError, match=r"gives 4,062 dialogues of 398 images where that gives 4,061 of 398"):
            mt_gqa._dialogues(recipe)


def test_another_json_file_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for content in ('{"1": {"image": "a"}}', "[1, 2]"):
        (tmp_path / "testdev_balanced_questions.json").write_text(content)
        with pytest.raises(ValueError, match=r"is not a GQA question file .* the release is at https://cs\.stanford"):
            build(TASK, tmp_path, tmp_path / "out")
