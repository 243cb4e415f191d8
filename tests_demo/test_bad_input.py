"""What is refused: one message, and the session goes on."""

from __future__ import annotations

import re

import pytest
from PIL import Image
from playwright.sync_api import expect

from pinhole.demo.limits import Limits
from steps import ask, complaint, picture, upload


@pytest.fixture
def page(visit, pictures):
    """A visitor's page, in the middle of a conversation."""
    page = visit()
    upload(page, pictures[0])
    page.wait_for_selector("#kept img")
    ask(page, "How many red objects are there?", 1)
    return page


def words(path):
    path.write_text("these are words")


def cut(path):
    Image.effect_noise((300, 200), 90).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def enormous(path):
    Image.new("1", (20_000, 20_000)).save(path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("words.png", words, "words.png is not an image that is read here: send JPEG, PNG"),
        ("cut.jpg", cut, "cannot use cut.jpg: the image is damaged or truncated"),
        ("wide.png", enormous, "wide.png is too large: send at most 50 megapixels"),
    ],
)
def test_a_bad_upload(page, tmp_path, pictures, name, write, message):
    before = picture(page)
    write(tmp_path / name)
    upload(page, tmp_path / name)
    assert message in complaint(page)
    assert picture(page) == before
    ask(page, "What color is the circle?", 2)
    upload(page, pictures[1])
    page.wait_for_function("before => document.querySelector('#kept img').getAttribute('src') !== before", arg=before)
    expect(page.locator("#message")).to_have_text("")


def test_a_file_that_is_too_large_never_arrives(page, tmp_path):
    before = picture(page)
    (tmp_path / "large.png").write_bytes(bytes(Limits().upload + 1))
    upload(page, tmp_path / "large.png")
    expect(page.locator(".toast-body, [data-testid=toast-body]").first).to_contain_text(re.compile("size", re.I))
    assert picture(page) == before
    ask(page, "What color is the circle?", 2)


def test_bad_questions(page):
    page.click("#ask")
    assert "the question is empty" in complaint(page)
    page.fill("#question textarea", "What <image> is it?")
    page.click("#ask")
    expect(page.locator("#message .refused")).to_contain_text("the question contains '<image>'")
    assert page.get_attribute("#question textarea", "maxlength") == "500"
    ask(page, "What color is the circle?", 2)


def test_a_question_before_there_is_a_picture(visit):
    page = visit()
    page.fill("#question textarea", "What is it?")
    page.click("#ask")
    assert complaint(page).endswith("there is no picture to ask about yet: choose one")


def test_markup_is_words(page):
    question = "<img src=x onerror=alert(1)> is <b>what</b>?"
    ask(page, question, 2)
    expect(page.locator(".turns h2").nth(1)).to_contain_text(question)
    assert page.locator(".turns h2 b, .turns h2 img").count() == 0
