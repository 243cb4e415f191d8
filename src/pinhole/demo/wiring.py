"""What happens on the page when something is done there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from pinhole.demo.desk import Desk, Shown
from pinhole.demo.examples import QUESTIONS
from pinhole.demo.layout import Parts, Start
from pinhole.demo.render import message_html
from pinhole.demo.visitors import Choice

_ON_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
"""What uses the model waits for its turn. None of it is offered to programs."""
_AT_ONCE: dict[str, Any] = {"queue": False, "api_visibility": "private"}
_SPOKEN = """() => {
  for (const [id, role] of [["message", "status"], ["turns", "log"]]) {
    document.getElementById(id)?.setAttribute("role", role);
    document.getElementById(id)?.setAttribute("aria-live", "polite");
  }
  const titles = TITLES;
  document.querySelectorAll("#examples button").forEach((button, i) => button.setAttribute("aria-label", titles[i]));
}"""
"""For screen readers: they say what changes, and what the examples show."""


def wire(page: gr.Blocks, parts: Parts, desk: Desk, start: Start) -> None:
    """Connect the parts of a page with the desk."""
    _wire_picture(parts, desk, start)
    _wire_method(parts, desk)
    _wire_question(parts, desk)
    if start.hub:
        _wire_hub(parts, desk)

    def leave(request: gr.Request) -> None:
        desk.visitors.leave(_session(request))

    page.unload(leave)
    page.load(None, js=_SPOKEN.replace("TITLES", json.dumps([example.title for example in start.examples])))


def _wire_picture(parts: Parts, desk: Desk, start: Start) -> None:
    outputs = [parts.upload, parts.path, parts.questions, parts.message, parts.kept, parts.turns]

    def take(
        session: str, new: str, path: str | None, label: str, keep: float, questions: tuple[str, ...]
    ) -> list[Any]:
        shown = desk.look(session, Choice(Path(new), label, keep))
        samples = gr.skip() if shown.is_refused else gr.Dataset(samples=[[text] for text in questions])
        return [None, path if shown.is_refused else new, samples, *_html(shown)]

    def upload(request: gr.Request, new: str, path: str | None, label: str, keep: float) -> list[Any]:
        return take(_session(request), new, path, label, keep, QUESTIONS)

    def choose(request: gr.Request, number: int, path: str | None, label: str, keep: float) -> list[Any]:
        example = start.examples[number]
        return take(_session(request), str(example.path), path, label, keep, example.questions)

    settings = [parts.path, parts.method, parts.keep]
    shown_on = {"show_progress": "minimal", "show_progress_on": parts.kept}
    parts.upload.upload(upload, [parts.upload, *settings], outputs, **shown_on, **_ON_MODEL)
    parts.examples.click(choose, [parts.examples, *settings], outputs, **shown_on, **_ON_MODEL)


def _wire_method(parts: Parts, desk: Desk) -> None:
    settings, outputs = [parts.path, parts.method, parts.keep], [parts.message, parts.kept, parts.turns]
    shown_on = {"show_progress": "minimal", "show_progress_on": parts.kept}

    def look(request: gr.Request, path: str | None, label: str, keep: float) -> list[Any]:
        return _html(desk.look(_session(request), _choice(path, label, keep)))

    def start_anew(request: gr.Request, path: str | None, label: str, keep: float) -> list[Any]:
        return _html(desk.start_anew(_session(request), _choice(path, label, keep)))

    for change in (parts.method.change, parts.keep.change):
        change(look, settings, outputs, trigger_mode="always_last", **shown_on, **_ON_MODEL)
    parts.anew.click(start_anew, settings, outputs, **shown_on, **_ON_MODEL)


def _wire_question(parts: Parts, desk: Desk) -> None:
    inputs = [parts.question, parts.path, parts.method, parts.keep]
    outputs = [parts.question, parts.message, parts.kept, parts.turns]

    def ask(request: gr.Request, question: str, path: str | None, label: str, keep: float) -> Iterator[list[Any]]:
        words: Any = ""
        for shown in desk.ask(_session(request), _choice(path, label, keep), question or ""):
            yield [gr.skip() if shown.is_refused else words, *_html(shown)]
            words = gr.skip()  # emptied once: the next question may be on its way

    def stop(request: gr.Request) -> None:
        desk.stop(_session(request))

    gr.on(
        [parts.ask.click, parts.question.submit],
        ask,
        inputs,
        outputs,
        show_progress="minimal",
        show_progress_on=parts.turns,
        **_ON_MODEL,
    )
    parts.questions.click(lambda row: row[0], parts.questions, parts.question, **_AT_ONCE)
    parts.stop.click(stop, **_AT_ONCE)


def _wire_hub(parts: Parts, desk: Desk) -> None:
    def add(name: str) -> list[Any]:
        try:
            label, choices = desk.add(name.strip())
        except ValueError as error:
            return [gr.skip(), message_html(str(error), True)]
        return [gr.Dropdown(choices=choices, value=label), message_html(f"{label} can be chosen now.", False)]

    gr.on([parts.hub_add.click, parts.hub_name.submit], add, parts.hub_name, [parts.method, parts.message], **_ON_MODEL)


def _choice(path: str | None, label: str, keep: float) -> Choice:
    return Choice(Path(path) if path else None, label, float(keep))


def _html(shown: Shown) -> list[Any]:
    """Message, picture and conversation; what stays as it is is not sent."""
    parts = (gr.skip() if part is None else part for part in (shown.kept, shown.turns))
    return [message_html(shown.message, shown.is_refused), *parts]


def _session(request: gr.Request) -> str:
    """What tells the open pages apart; the browser chooses it at random, and nobody else learns it."""
    if not request.session_hash:
        raise gr.Error("this page answers browsers only")
    return request.session_hash
