"""A visit to the page, and visits of several at once."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from pinhole.chat import Chat
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene
from steps import TURNS, ask, choose, complaint, costs, keep, number, picture, until_changed, upload, wait_until

QUESTIONS = [[question.text for question in dialogue(make_scene("validation", index))] for index in range(2)]


def test_a_visit(visit, pictures, screenshot):
    page = visit()
    choose(page, "DivPrune")
    upload(page, pictures[0])
    page.wait_for_selector("#kept img")
    expect(page.locator("#kept .figures")).to_contain_text("14 of 144 visual tokens (9.7 %)")
    first = picture(page)
    page.focus("#keep input[type=range]")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#kept .figures")).to_contain_text("22 of 144 visual tokens (15.3 %)")
    second = picture(page)
    assert second != first

    one, other = ask(page, QUESTIONS[0][0], 1)
    assert one
    assert other
    later = ask(page, QUESTIONS[0][1], 2)
    verdicts = page.locator(".verdict").all_inner_texts()
    agreeing = [one == other, later[0] == later[1]]
    assert ["agree" in verdict for verdict in verdicts] == agreeing
    expect(page.locator(".agreement")).to_have_text(f"{sum(agreeing)} of 2 answers agree so far")
    full, reduced = costs(page, 2)
    assert full["Visual tokens"] == "144 of 144"
    assert reduced["Visual tokens"].startswith("22 of 144 (15.3 %)")
    assert number(full["First token"]) > 0
    assert number(reduced["First token"]) > 0
    assert reduced["KV cache"].endswith("%)")
    assert picture(page) == second
    screenshot(page, "page")

    choose(page, "ToMe")
    until_changed(page, second)
    expect(page.locator("#message")).to_have_text("The next question starts a new conversation, with ToMe at 0.15.")
    ask(page, QUESTIONS[0][2], 1)
    expect(page.locator(".turns")).to_contain_text("ToMe at 0.15")
    expect(page.locator(".turns")).not_to_contain_text(QUESTIONS[0][0])
    expect(page.locator("#message")).to_have_text("")


def test_examples_and_questions_to_try(visit):
    page = visit()
    page.get_by_role("button", name="blue ring, blue square, green square, red triangle").click()
    page.wait_for_selector("#kept img")
    page.click("#questions button >> nth=1")
    expect(page.locator("#question textarea")).to_have_value("What color is the triangle?")
    page.press("#question textarea", "Enter")
    expect(page.locator(".verdict")).to_have_count(1)
    expect(page.locator(".said").first).to_have_text("red")
    expect(page.locator("#question textarea")).to_have_value("")
    page.click("#examples button >> nth=0")
    expect(page.locator(".turns")).to_have_count(0)


def test_a_compressor_by_folder_and_one_by_hub_name(visit):
    page = visit()
    expect(page.locator("#method input")).to_have_value("MetaCompress from compressors0/mine")
    page.click("#examples button >> nth=0")
    page.wait_for_selector("#kept img")
    expect(page.locator("#kept .legend")).to_contain_text("use in the kept tokens")
    first = picture(page)
    page.click("#hub button >> nth=0")
    page.fill("#hub-name textarea, #hub-name input", "owner/nowhere")
    page.click("#hub-add")
    assert "no compressor owner/nowhere can be had from the hub" in complaint(page)
    page.fill("#hub-name textarea, #hub-name input", "owner/name")
    page.click("#hub-add")
    until_changed(page, first)
    expect(page.locator("#method input")).to_have_value("MetaCompress from owner/name")
    ask(page, "How many red objects are there?", 1)
    expect(page.locator(".turns")).to_contain_text("MetaCompress from owner/name at 0.1")


def test_a_method_inside_the_llm(visit, screenshot):
    page = visit()
    choose(page, "PyramidDrop")
    page.click("#examples button >> nth=2")
    page.wait_for_selector("#kept img")
    keep(page, "0.3")
    expect(page.locator("#kept .legend")).to_contain_text("alive in all layers")
    expect(page.locator("#kept")).to_contain_text("This method reads the question.")
    ask(page, "How many purple objects are there?", 1)
    expect(page.locator("#kept")).not_to_contain_text("This method reads the question.")
    assert "144 ×1" in costs(page, 1)[1]["Visual tokens"]
    screenshot(page, "layers")


def test_two_visitors_do_not_mix_and_are_forgotten_when_they_leave(visit, served, embedded, pictures):
    expected = []
    for path, questions in zip(pictures, QUESTIONS, strict=True):
        chat = Chat(*embedded, max_new_tokens=8)
        expected.append(
            [chat.ask(question, [path] if question == questions[0] else None) for question in questions[:2]]
        )
    wait_until(lambda: len(served.desk.visitors) == 0)
    pages = visit(), visit()
    said = []
    for page, path, questions in zip(pages, pictures, QUESTIONS, strict=True):
        upload(page, path)
        page.wait_for_selector("#kept img")
        said.append([ask(page, questions[0], 1)])
    for page, questions, own in zip(pages, QUESTIONS, said, strict=True):
        own.append(ask(page, questions[1], 2))
    for page, questions, others in zip(pages, QUESTIONS, reversed(QUESTIONS), strict=True):
        shown = page.inner_text("#turns")
        assert all(question in shown for question in questions[:2])
        assert not any(question in shown for question in others[:2] if question not in questions)
    assert [[full for full, _ in answers] for answers in said] == expected
    assert len(served.desk.visitors) == 2
    pages[0].close()
    wait_until(lambda: len(served.desk.visitors) == 1)
    ask(pages[1], QUESTIONS[1][2], 3)


def test_a_conversation_ends_and_a_new_one_begins(visit):
    page = visit()
    page.click("#examples button >> nth=0")
    page.wait_for_selector("#kept img")
    for turn in range(1, TURNS + 1):
        ask(page, "What color is the circle?", turn)
    page.fill("#question textarea", "And now?")
    page.click("#ask")
    assert complaint(page).endswith(f"this conversation is over ({TURNS} turns): start a new one")
    expect(page.locator("#question textarea")).to_have_value("And now?")
    page.click("#anew")
    expect(page.locator("#turns")).to_contain_text("Ask something about the picture")
    ask(page, "What color is the circle?", 1)


def test_a_narrow_screen(visit, screenshot):
    page = visit(width=420, height=900)
    page.click("#examples button >> nth=1")
    page.wait_for_selector("#kept img")
    ask(page, "What color is the triangle?", 1)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 420
    boxes = [card.bounding_box() for card in page.locator(".answer").all()]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"], "one above the other"
    screenshot(page, "narrow")


def test_the_keyboard_alone_is_enough(visit):
    page = visit()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('[id]:not([id*=range])')?.id"))
    wanted = ["upload", "examples", "method", "keep", "question", "ask", "questions", "stop", "anew"]
    seen = " ".join(map(str, reached))
    assert [name for name in wanted if name in seen] == wanted, reached
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, img")].filter(element =>
            element.offsetParent && !element.ariaLabel && !element.alt && !element.innerText
            && !element.labels?.length && !element.closest("button[aria-label]")).map(element => element.outerHTML)"""
    )
    assert unnamed == [], json.dumps(unnamed, indent=2)
