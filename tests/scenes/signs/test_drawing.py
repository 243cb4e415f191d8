from __future__ import annotations

import numpy as np
import pytest

from pinhole.scenes.signs.drawing import PANEL, render
from pinhole.scenes.signs.world import CAPS, FONTS, MARGIN, WORDS, Chart, Sign, SignScene, make_scene
from pinhole.scenes.world import COLORS, SIDE


@pytest.fixture(scope="module")
def drawn():
    scenes = [make_scene("validation", i) for i in range(40)]
    return [(scene, np.asarray(render(scene), np.int64)) for scene in scenes]


def near(pixels: np.ndarray, color: tuple[int, int, int], tolerance: int = 10) -> np.ndarray:
    return np.abs(pixels - color).max(-1) < tolerance


def cut(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def alone(word: str, font: str, cap: int, plate: bool, color: str = "blue") -> np.ndarray:
    """The pixels of one sign."""
    sign = Sign(word, color, SIDE // 2, SIDE // 2, cap, font, plate)
    return cut(np.asarray(render(SignScene("test", 0, (sign,))), np.int64), sign.box)


def test_asking_for_one_picture_does_not_change_another():
    first = render(make_scene("train", 5)).tobytes()
    render(make_scene("train", 6))
    assert render(make_scene("train", 5)).tobytes() == first


def test_bars_have_the_heights_colors_and_order_of_the_scene(drawn):
    for scene, pixels in drawn:
        chart = scene.things[0]
        panel = cut(pixels, chart.box)
        seen = {name: np.argwhere(near(panel, color)) for name, color in COLORS.items()}
        measured = [
            (int(where[:, 1].min()), name, int(np.ptp(where[:, 0])) + 1) for name, where in seen.items() if len(where)
        ]
        assert [(name, height) for _, name, height in sorted(measured)] == [(b.color, b.height) for b in chart.bars]
        assert near(panel, PANEL).mean() > 0.2


def test_every_sign_is_of_its_color_and_no_other(drawn):
    for scene, pixels in drawn:
        for sign in scene.things[1:]:
            shares = {name: near(cut(pixels, sign.box), color).mean() for name, color in COLORS.items()}
            assert max(shares, key=shares.get) == sign.color, (scene.index, sign)
            assert shares[sign.color] > (0.3 if sign.plate else 0.08), (scene.index, sign)


@pytest.mark.parametrize("plate", [True, False])
@pytest.mark.parametrize("font", FONTS)
def test_capitals_are_as_high_as_announced_and_stand_out(font, plate):
    assert min(CAPS) >= 14
    for cap in CAPS:
        for word in WORDS:
            pixels = alone(word, font, cap, plate)
            ink = ~near(pixels, COLORS["blue"], 40) if plate else near(pixels, COLORS["blue"], 40)
            rows = np.flatnonzero(ink.any(1))
            assert np.ptp(rows) + 1 == pytest.approx(cap, abs=2), word
            assert rows.min() >= MARGIN - 1
            assert 0.1 < ink.mean() < 0.6, word


def test_without_a_plate_letters_have_a_halo_that_stands_out_from_them():
    for color, halo in (("blue", (250, 250, 250)), ("yellow", (15, 15, 15))):
        pixels = alone("taxi", FONTS[0], 16, False, color)
        assert near(pixels, halo).mean() > 0.1


def test_no_two_words_look_alike_and_no_two_fonts():
    for font in FONTS:
        words = [alone(word, font, 14, True) for word in WORDS if len(word) == 4]
        different = [near(a, b, 60).mean() for i, a in enumerate(words) for b in words[:i]]
        assert max(different) < 0.9
    fonts = [alone("park", font, 14, True) for font in FONTS]
    assert max(near(a, b, 60).mean() for i, a in enumerate(fonts) for b in fonts[:i]) < 0.95


def test_what_is_not_a_thing_is_the_photograph(drawn):
    for scene, pixels in drawn[:10]:
        bare = np.asarray(render(scene.part([])), np.int64)
        outside = np.ones((SIDE, SIDE), bool)
        for thing in scene.things:
            cut(outside, thing.box)[:] = False
        assert np.array_equal(pixels[outside], bare[outside])


def test_a_part_of_a_scene_shows_its_things_alone():
    scene = make_scene("test", 0)
    assert isinstance(scene.part([0]).things[0], Chart)
    assert scene.part([1, 2]).things == scene.things[1:3]
