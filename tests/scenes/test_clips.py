from __future__ import annotations

import json
from collections import Counter

import pytest

from pinhole.data import read_dialogues
from pinhole.scenes.clips import clip
from pinhole.scenes.dataset import write_dialogues
from pinhole.scenes.world import make_scene, render


@pytest.mark.parametrize(("frames", "stay"), [(1, 1), (2, 1), (4, 2), (5, 3)])
def test_every_thing_is_in_view_for_half_of_the_frames_without_a_break(frames, stay):
    for index in range(50):
        scene = make_scene("test", index)
        shown = clip(scene, frames)
        assert len(shown) == frames
        assert Counter(thing for frame in shown for thing in frame.things) == dict.fromkeys(scene.things, stay)
        for thing in scene.things:
            seen = [i for i, frame in enumerate(shown) if thing in frame.things]
            assert seen == list(range(seen[0], seen[0] + stay))


def test_a_thing_keeps_its_digit_and_its_place():
    scene = make_scene("test", 3)
    digits = dict(zip(scene.things, scene.digit_samples, strict=True))
    for frame in clip(scene, 4):
        assert dict(zip(frame.things, frame.digit_samples, strict=True)).items() <= digits.items()


def test_a_clip_is_a_dialogue_with_several_pictures(tmp_path):
    path = write_dialogues(tmp_path, "test", 5, show_progress=False, frames=4)
    for dialogue, line in zip(read_dialogues(path), path.read_text().splitlines(), strict=True):
        index = int(json.loads(line)["id"].removeprefix("test-"))
        drawn = [render(frame) for frame in clip(make_scene("test", index), 4)]
        assert [image.tobytes() for image in dialogue.load_images()] == [image.tobytes() for image in drawn]


@pytest.mark.parametrize(("wrong", "message"), [({"frames": 0}, "at least 1"), ({"kinds": ["taste"]}, "got taste")])
def test_what_cannot_be_drawn_is_refused_with_what_can(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_dialogues(tmp_path, "test", 5, show_progress=False, **wrong)
