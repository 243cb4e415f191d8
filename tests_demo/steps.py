"""What visitors do, and what they see."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

TURNS = 3
"""Questions that a conversation may have on the page that is tested."""


def upload(page: Page, path: Path) -> None:
    page.set_input_files("#upload input[type=file]", path)


def picture(page: Page) -> str:
    """The source of the picture with what is kept of it."""
    return page.get_attribute("#kept img", "src") or ""


def until_changed(page: Page, before: str) -> str:
    """The picture's source, once it is another one."""
    page.wait_for_function("before => document.querySelector('#kept img')?.getAttribute('src') !== before", arg=before)
    return picture(page)


def choose(page: Page, method: str) -> None:
    page.click("#method input")
    page.get_by_role("option", name=method, exact=True).click()


def keep(page: Page, share: str) -> None:
    page.fill("#keep input[type=number]", share)
    page.press("#keep input[type=number]", "Tab")


def ask(page: Page, question: str, turn: int) -> tuple[str, str]:
    """Ask, and the two answers to this question of the conversation."""
    page.fill("#question textarea", question)
    page.click("#ask")
    expect(page.locator(".verdict")).to_have_count(turn)
    one, other = page.locator(".turns li").nth(turn - 1).locator(".said").all_inner_texts()
    return one, other


def costs(page: Page, turn: int) -> list[dict[str, str]]:
    """What each side's answer cost, by what it is called."""
    found = []
    for card in page.locator(".turns li").nth(turn - 1).locator(".answer").all():
        found.append(dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True)))
    return found


def complaint(page: Page) -> str:
    """What is refused, once something is."""
    return page.locator("#message .refused").inner_text()


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Return once something is so; fail where it never is."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.05)


def number(text: str) -> float:
    """The first number in some words."""
    found = re.search(r"[\d.]+", text)
    assert found, text
    return float(found[0])
