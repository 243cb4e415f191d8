"""The sheet and the page of looks that need no model, and looks at pictures that are drawn by nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from html_page import Page
from pinhole.layout import Layout, View
from pinhole.reduction import Reduction
from pinhole.view.asking import entrants
from pinhole.view.cards import decision_cards, how_to_read
from pinhole.view.look import UNASKED, look_at
from pinhole.view.page import write_page
from pinhole.view.sheet import draw_sheet
from pinhole.view.subject import Decision, Subject


def test_without_a_question_nothing_is_asked_and_the_page_says_what_methods_read(embedded):
    model, processor = embedded
    image = Image.new("RGB", (144, 144))
    subject = look_at(model, processor, image, None, entrants(model, ["fastv:layer=1"], [0.1]))
    assert (subject.question, subject.answer, subject.relevance) == (None, None, {})
    assert subject.told == [f"Nothing was asked: methods that read a question read “{UNASKED}”"]
    assert look_at(model, processor, image, None, entrants(model, ["sample"], [0.1])).told == []


def test_a_wide_picture_is_seen_where_the_processor_crops_it(embedded):
    model, processor = embedded
    subject = look_at(model, processor, Image.new("RGB", (288, 144)), None, entrants(model, ["full"], [1.0]))
    box = subject.layout.boxes()[3 * 12 + 5]  # of the square in the middle, from pixel 72 on
    assert box.tolist() == pytest.approx([3 / 12, (72 + 5 * 12) / 288, 4 / 12, (72 + 6 * 12) / 288])


def subject(layout: Layout, frames: int = 1, size: tuple[int, int] | None = None) -> Subject:
    decision = Decision("m", None, Reduction.identity(layout.n).placed(layout))
    return Subject(0, "a.png", "image", size, frames, None, None, None, [decision])


def test_tokens_of_no_known_place_can_be_drawn(tmp_path):
    nowhere = subject(Layout.of(7))
    draw_sheet([nowhere], [[Image.new("RGB", (9, 9))]]).savefig(tmp_path / "a.png")
    write_page(tmp_path / "a.html", [nowhere], [[Image.new("RGB", (9, 9))]])
    assert "separators between tiles or rows: 7 of 7" in Page(tmp_path / "a.html").text


def test_other_pictures_are_refused():
    one = subject(Layout.of(View(2, 2)), size=(40, 30))
    with pytest.raises(ValueError, match=r"of 1 picture\(s\) and videos, and 2 are given"):
        draw_sheet([one], [[Image.new("RGB", (40, 30))]] * 2)
    with pytest.raises(ValueError, match=r"a.png was 1 frame\(s\) of 40 x 30 .* given is 1 of 30 x 40"):
        draw_sheet([one], [[Image.new("RGB", (30, 40))]])
    with pytest.raises(ValueError, match=r"1 frame\(s\) of 40 x 30 .* given is 2 of 40 x 30"):
        draw_sheet([one], [[Image.new("RGB", (40, 30))] * 2])


def test_a_sheet_has_every_picture_at_its_size():
    source = [Image.effect_noise((40, 30), 50).convert("RGB")]
    figure = draw_sheet([subject(Layout.of(View(2, 2)))], [source])
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if len(axes.images)]
    assert np.array_equal(shown[0], np.asarray(source[0].resize((600, 450), Image.Resampling.BICUBIC)))
    width, height = figure.axes[0].bbox.size
    assert width / height == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.0, 0.0, 1.0, 1.0), set()),
        ((0.0, 0.25, 1.0, 0.75), {"Dark stripes"}),
        ((-0.5, 0.0, 1.5, 1.0), {"Grey beyond"}),
    ],
)
def test_what_a_newcomer_cannot_know_is_told_where_it_is_seen(box, words):
    lines = how_to_read([subject(Layout.of(View(2, 2, box)))])
    assert {
        start for start in ("Dark stripes", "Grey beyond") if any(line.startswith(start) for line in lines)
    } == words
    assert any(line.startswith("Picked tokens") for line in lines)
    assert not any(line.startswith(("Merged", "Methods inside", "Relevance")) for line in lines)


def test_a_method_that_keeps_every_token_has_no_map():
    layout = Layout.of(View(2, 2))
    [(_, [card])] = decision_cards(subject(layout), [Image.new("RGB", (9, 9))])
    assert card.map is None
    picked = Decision("m", 0.5, Reduction.select(torch.tensor([1, 2]), 4).placed(layout))
    one = replace(subject(layout), decisions=[picked])
    [(label, [card])] = decision_cards(one, [Image.new("RGB", (9, 9))])
    assert label == "keep 0.5"
    assert card.map.values.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert card.words == "2 of 4 tokens kept (50.0 %)"
