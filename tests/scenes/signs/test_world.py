from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from pinhole.scenes import world as first_world
from pinhole.scenes.signs.world import (
    CAPS,
    FONTS,
    HEIGHTS,
    STEP,
    WORDS,
    Bar,
    Chart,
    Sign,
    make_scene,
)
from pinhole.scenes.world import COLORS, SIDE, SPLITS

COUNT = 400


@pytest.fixture(scope="module")
def scenes():
    return {split: [make_scene(split, i) for i in range(COUNT)] for split in SPLITS}


def test_no_scene_is_in_two_splits(scenes):
    seen = [{scene.things for scene in scenes[split]} for split in SPLITS]
    assert all(len(s) == COUNT for s in seen)
    assert not any(one & other for one, other in combinations(seen, 2))


def test_scenes_never_change_because_published_numbers_are_about_them():
    chart, sign, *_ = make_scene("test", 7).things
    assert chart == Chart(
        x=62, y=55, bars=(Bar(color="orange", height=16), Bar(color="blue", height=8), Bar(color="green", height=40))
    )
    assert sign == Sign(word="milk", color="purple", x=34, y=107, cap=14, font="DejaVuSansMono-Bold", plate=True)


def test_asking_for_one_scene_does_not_change_another():
    first = make_scene("train", 5)
    make_scene("train", 6)
    assert make_scene("train", 5) == first


def test_no_scene_shares_random_numbers_with_one_of_the_first_world():
    one, other = make_scene("train", 3), first_world.make_scene("train", 3)
    for purpose in ("pixels", "dialogue/0", "clip"):
        assert one.generator(purpose).random() != other.generator(purpose).random()
    assert one.name != other.name


def test_a_scene_is_a_chart_and_two_to_four_signs_that_say_different_words(scenes):
    for scene in scenes["train"]:
        chart, *signs = scene.things
        assert isinstance(chart, Chart)
        assert 2 <= len(signs) <= 4
        assert all(isinstance(sign, Sign) for sign in signs)
        assert len({sign.word for sign in signs}) == len(signs)


def test_bars_differ_in_color_and_clearly_in_height(scenes):
    for scene in scenes["train"]:
        bars = scene.things[0].bars
        assert 3 <= len(bars) <= 5
        assert len({bar.color for bar in bars}) == len(bars)
        assert {bar.height for bar in bars} <= set(HEIGHTS)
        assert len({bar.height for bar in bars}) == len(bars)
    assert min(b - a for a, b in pairwise(HEIGHTS)) >= 8


def test_things_lie_in_the_picture_and_apart(scenes):
    for scene in scenes["train"]:
        for thing in scene.things:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= SIDE
            assert 0 <= top < bottom <= SIDE
            assert left % STEP == top % STEP == 0
        for one, other in combinations([thing.box for thing in scene.things], 2):
            apart = max(one[0] - other[2], other[0] - one[2], one[1] - other[3], other[1] - one[3])
            assert apart >= 2


def test_every_word_color_font_and_number_of_bars_occurs_about_equally(scenes):
    things = [thing for split in SPLITS for scene in scenes[split] for thing in scene.things]
    signs = [thing for thing in things if isinstance(thing, Sign)]
    bars = [len(thing.bars) for thing in things if isinstance(thing, Chart)]
    found = {
        WORDS: [sign.word for sign in signs],
        tuple(COLORS): [sign.color for sign in signs],
        FONTS: [sign.font for sign in signs],
        CAPS: [sign.cap for sign in signs],
        (3, 4, 5): bars,
        HEIGHTS: [bar.height for thing in things if isinstance(thing, Chart) for bar in thing.bars],
    }
    for values, occurring in found.items():
        shares = [occurring.count(value) / len(occurring) * len(values) for value in values]
        assert 0.8 < min(shares) <= max(shares) < 1.2, values
    assert 0.65 < sum(sign.plate for sign in signs) / len(signs) < 0.75


@pytest.mark.parametrize(("split", "index"), [("dev", 0), ("train", -1)])
def test_a_split_or_index_that_does_not_exist_is_refused(split, index):
    with pytest.raises(ValueError, match="the splits are train, validation, test" if index == 0 else "start at 0"):
        make_scene(split, index)
