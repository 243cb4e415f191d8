"""Accuracy by the size of the object that an answer is about, where the data says it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.results import summarize
from pinhole.families import family_of


def test_accuracy_by_the_size_of_what_the_answer_is_about(embedded):
    sizes = [(0.005, 0.05, None), (0.0099, 0.01, 0.1), (0.5, 1.0, 0.099)]
    dialogues = [Dialogue(str(i), (), tuple(Turn("?", "a", size=size) for size in row)) for i, row in enumerate(sizes)]
    right = [(True, True, False), (False, False, True), (True, False, True)]
    shape = family_of(embedded[0]).shape
    rivals = contenders(["full"], [1.0], shape)
    held = {
        (rivals[0].key, str(i)): Answered(rivals[0].key, str(i), "", [""] * 3, list(scores), [[4, 4]], 3)
        for i, scores in enumerate(right)
    }
    [row] = summarize(rivals, dialogues, held, shape, {})
    assert row["by_size"] == pytest.approx({"under 1 %": 1 / 2, "1 to 10 %": 2 / 3, "over 10 %": 2 / 3})


@pytest.fixture
def file_with(tmp_path):
    """A data set of one dialogue, whose turn says this size."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")

    def write(size):
        turn = {"question": "?", "answer": "a", "size": size}
        (tmp_path / "dialogues.jsonl").write_text(json.dumps({"image": "a.png", "turns": [turn]}) + "\n")
        return tmp_path

    return write


@pytest.mark.parametrize("size", [0.25, 1, None])
def test_sizes_are_read(file_with, size):
    assert read_dialogues(file_with(size))[0].turns[0].size == size


@pytest.mark.parametrize("size", [0, 1.5, "large", -0.1])
def test_what_is_no_share_is_refused(file_with, size):
    with pytest.raises(ValueError, match='"size" is a share of the picture'):
        read_dialogues(file_with(size))
