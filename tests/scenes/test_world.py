from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pinhole.scenes.world import (
    COLORS,
    DIGIT_BLOCKS,
    DIGITS,
    SHAPES,
    SIDE,
    SPLITS,
    Thing,
    generator,
    make_scene,
    render,
)

COUNT = 400


@pytest.fixture(scope="module")
def scenes():
    return {split: [make_scene(split, i) for i in range(COUNT)] for split in SPLITS}


def test_no_two_splits_share_a_digit_or_a_writer():
    from sklearn.datasets import load_digits

    assert max(block.stop for block in DIGIT_BLOCKS.values()) == len(load_digits().target)
    for one, other in combinations(DIGIT_BLOCKS.values(), 2):
        first, second = sorted((one, other), key=lambda block: block.start)
        assert second.start - first.stop >= 140, "about one writer's samples lie between two blocks"


def test_every_digit_is_from_its_splits_block_and_is_what_the_sample_shows(scenes):
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for split in SPLITS:
        carried = [(s, t) for scene in scenes[split] for s, t in zip(scene.digit_samples, scene.things, strict=True)]
        samples = {s for s, _ in carried if s is not None}
        assert samples <= set(DIGIT_BLOCKS[split])
        assert len(samples) > 50
        assert all((s is None) == (t.digit is None) for s, t in carried)
        assert all(labels[s] == t.digit for s, t in carried if s is not None)


def test_no_scene_is_in_two_splits(scenes):
    seen = [{scene.things for scene in scenes[split]} for split in SPLITS]
    assert all(len(s) == COUNT for s in seen)
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize(
    ("split", "first"),
    [
        ("train", Thing("diamond", "red", x=74, y=79, radius=18, digit=7)),
        ("validation", Thing("triangle", "purple", x=68, y=105, radius=14)),
        ("test", Thing("circle", "orange", x=102, y=81, radius=13)),
    ],
)
def test_scenes_never_change_because_published_numbers_are_about_them(split, first):
    assert make_scene(split, 7).things[0] == first


def test_asking_for_one_scene_does_not_change_another():
    first = make_scene("train", 5)
    pixels = render(first).tobytes()
    make_scene("train", 6)
    render(make_scene("train", 7))
    assert make_scene("train", 5) == first
    assert render(first).tobytes() == pixels


def test_things_are_named_sized_and_counted_as_announced(scenes):
    for scene in scenes["train"]:
        assert 3 <= len(scene.things) <= 6
        for thing in scene.things:
            assert thing.shape in SHAPES
            assert thing.color in COLORS
            assert 13 <= thing.radius <= 20
            assert thing.radius <= min(thing.x, thing.y) <= max(thing.x, thing.y) <= SIDE - thing.radius


def test_things_do_not_overlap(scenes):
    for scene in scenes["train"]:
        for one, other in combinations(scene.things, 2):
            distance = ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5
            assert distance > one.radius + other.radius + 2


def test_every_shape_color_and_digit_occurs_about_equally(scenes):
    things = [thing for split in SPLITS for scene in scenes[split] for thing in scene.things]
    for values, kinds in ((SHAPES, "shape"), (COLORS, "color"), (DIGITS, "digit")):
        found = [getattr(thing, kinds) for thing in things if getattr(thing, kinds) is not None]
        shares = [found.count(value) / len(found) * len(values) for value in values]
        assert 0.75 < min(shares) <= max(shares) < 1.25, kinds


def test_pictures_show_each_thing_in_its_color_at_its_place(scenes):
    for scene in scenes["validation"][:40]:
        pixels = np.asarray(render(scene), np.int64)
        assert pixels.shape == (SIDE, SIDE, 3)
        for thing in scene.things:
            r = thing.radius
            window = pixels[thing.y - r : thing.y + r, thing.x - r : thing.x + r]
            shares = {name: (np.abs(window - color).max(-1) < 10).mean() for name, color in COLORS.items()}
            assert max(shares, key=shares.get) == thing.color, (scene.index, thing)
            assert shares[thing.color] > 0.05, (scene.index, thing)


def test_digits_are_drawn_in_dark_ink(scenes):
    for scene in scenes["validation"][:40]:
        pixels = np.asarray(render(scene), np.int64)
        for thing in scene.things:
            middle = pixels[thing.y - 8 : thing.y + 8, thing.x - 8 : thing.x + 8].sum(-1)
            if thing.digit is not None:
                assert middle.min() < 150, (scene.index, thing)
            elif thing.shape != "ring":
                assert middle.min() > 150, (scene.index, thing)


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("train", -1)])
def test_a_split_or_index_that_does_not_exist_is_refused(split, index):
    with pytest.raises(ValueError, match="the splits are train, validation, test" if index == 0 else "start at 0"):
        make_scene(split, index)


def test_no_two_purposes_share_random_numbers():
    draws = [generator("train", 3, purpose).random() for purpose in ("scene", "pixels", "dialogue/0", "dialogue/1")]
    assert len(set(draws)) == 4
