from __future__ import annotations

import hashlib
import json

import pytest

from pinhole.data import read_dialogues
from pinhole.scenes.clips import clip
from pinhole.scenes.dataset import write_dialogues
from pinhole.scenes.worlds import WORLDS


@pytest.mark.parametrize("world", list(WORLDS))
def test_dialogues_of_every_world_are_written_in_one_format(world, tmp_path):
    path = write_dialogues(tmp_path, "test", 4, show_progress=False, world=world)
    made = WORLDS[world]
    for dialogue, line in zip(read_dialogues(path), path.read_text().splitlines(), strict=True):
        scene = made.make_scene("test", int(json.loads(line)["id"].rpartition("-")[2]))
        assert dialogue.id == scene.name
        [image] = dialogue.load_images()
        assert image.tobytes() == made.render(scene).tobytes()
        asked = [(turn.question, turn.answer, turn.kind) for turn in dialogue.turns]
        assert asked == [(q.text, q.answer, q.kind) for q in made.dialogue(scene)]


def test_no_two_worlds_share_a_name_so_that_their_dialogues_can_be_mixed(tmp_path):
    names = [d.id for w in WORLDS for d in read_dialogues(write_dialogues(tmp_path / w, "test", 9, 3, False, world=w))]
    assert len(set(names)) == len(names)


def test_what_the_first_world_writes_never_changes_because_published_numbers_are_about_it(tmp_path):
    path = write_dialogues(tmp_path, "test", 100, show_progress=False)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == "d1cf4aa4f040edc8"
    world = WORLDS["shapes"]
    pixels = world.render(world.make_scene("test", 7)).tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "bbec9b5fe91fee88"


def test_signs_and_charts_come_and_go_in_clips(tmp_path):
    world = WORLDS["signs"]
    scene = world.make_scene("test", 3)
    frames = clip(scene, 4)
    assert {thing for frame in frames for thing in frame.things} == set(scene.things)
    assert any(frame.things != scene.things for frame in frames)
    [dialogue] = read_dialogues(write_dialogues(tmp_path, "test", 1, 1, False, world="signs", frames=4))
    assert len(dialogue.load_images()) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"world": "maps"}, "the worlds are shapes, signs"),
        ({"world": "signs", "kinds": ["digit"]}, "kinds of questions are word, .*; got digit"),
    ],
)
def test_a_world_or_a_kind_that_does_not_exist_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_dialogues(tmp_path, "test", 5, show_progress=False, **wrong)


def test_the_command_writes_the_second_world(pinhole, tmp_path):
    code, out, _ = pinhole(
        "scenes", "--world", "signs", "--kinds", "taller", "--turns", 1, "--count", 3, "--out", tmp_path, "--quiet"
    )
    assert code == 0
    assert "wrote 3 dialogues" in out
    assert {turn.kind for dialogue in read_dialogues(tmp_path) for turn in dialogue.turns} == {"taller"}
