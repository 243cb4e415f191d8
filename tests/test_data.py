"""Dialogues from files: what is read, and what is refused, with every bad line named."""

from __future__ import annotations

import json

import datasets
import pytest
from PIL import Image

from pinhole.data import read_dialogues

TURNS = [{"question": "What color is it?", "answer": "red", "kind": "color"}]


@pytest.fixture
def folder(tmp_path):
    for name in ("one.png", "two.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "empty.png").touch()
    return tmp_path


def write(folder, *rows):
    path = folder / "dialogues.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_reads_one_or_several_images_relative_to_the_file(folder):
    path = write(
        folder, {"image": "one.png", "turns": TURNS}, "", {"id": "x", "images": ["one.png", "two.png"], "turns": TURNS}
    )
    first, second = read_dialogues(path)
    assert (first.id, second.id) == ("1", "x")
    assert [image.size for image in second.load_images()] == [(8, 8), (8, 8)]
    assert (first.turns[0].question, first.turns[0].answer, first.turns[0].kind) == (
        "What color is it?",
        "red",
        "color",
    )


def test_a_folder_stands_for_its_dialogues_file(folder):
    write(folder, {"image": "one.png", "turns": TURNS})
    assert len(read_dialogues(folder)) == 1


def test_reads_a_datasets_folder_with_pictures_inside(folder):
    rows = {"image": [str(folder / "one.png")], "turns": [TURNS]}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    table.save_to_disk(str(folder / "table"))
    (dialogue,) = read_dialogues(folder / "table")
    assert dialogue.load_images()[0].getpixel((3, 3)) == (255, 0, 0)


def test_several_splits_are_refused_with_their_names(folder):
    table = datasets.Dataset.from_dict({"image": [str(folder / "one.png")], "turns": [TURNS]})
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(str(folder / "both"))
    with pytest.raises(ValueError, match=r"both/train, .*both/test"):
        read_dialogues(folder / "both")


def test_every_bad_line_is_named_with_its_reason(folder):
    path = write(
        folder,
        {"image": "one.png", "turns": TURNS, "id": "a"},
        "{not json",
        {"turns": TURNS},
        {"image": "one.png", "images": ["two.png"], "turns": TURNS},
        {"image": "missing.png", "turns": TURNS},
        {"image": "empty.png", "turns": TURNS},
        {"image": "one.png", "turns": []},
        {"image": "one.png", "turns": [{"question": "?", "answer": ""}]},
        {"image": "one.png", "turns": TURNS, "id": "a"},
        [1],
    )
    with pytest.raises(ValueError, match="9 bad line") as caught:
        read_dialogues(path)
    message = str(caught.value)
    for line, reason in {
        2: "not JSON",
        3: 'either "image" or "images"',
        4: 'either "image" or "images"',
        5: "no image file at",
        6: "is empty",
        7: '"turns" is a non-empty list',
        8: 'non-empty "answer"',
        9: "taken by line 1",
        10: "expected an object, got list",
    }.items():
        assert any(row.startswith(f"  line {line}:") and reason in row for row in message.splitlines()), (line, message)


def test_of_very_many_bad_lines_the_first_are_shown_and_the_rest_counted(folder):
    path = write(folder, *["{"] * 50)
    with pytest.raises(ValueError, match="50 bad line") as caught:
        read_dialogues(path)
    assert str(caught.value).endswith("and 30 more")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_refused(folder, content):
    (folder / "none.jsonl").write_text(content)
    with pytest.raises(ValueError, match="holds no dialogues"):
        read_dialogues(folder / "none.jsonl")


def test_nothing_there_says_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match=r"give a \.jsonl file"):
        read_dialogues(tmp_path / "absent")
