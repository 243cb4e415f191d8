"""What is on the page, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from markupsafe import Markup

from pinhole.demo.examples import QUESTIONS, Example
from pinhole.demo.limits import FORMATS, Limits
from pinhole.demo.render import kept_html, message_html, turns_html

CSS = Path(__file__).with_name("page.css")
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
FIXED_FONTS = ("ui-monospace", "Consolas", "monospace")
ACCENT, PRESSED = "#0072b2", "#005a8c"
"""White words can be read on both."""
LIGHT = "#62b0e4"
SOFT, SOFT_DARK = "#565d69", "#aab1bd"
"""Words of less weight, which can still be read, on light and on dark ground."""


HEADER = Markup(
    "<header><h1>Pinhole <span>{}</span></h1>"
    "<p>The same questions to one model: with all its visual tokens, and with fewer.</p></header>"
)


@dataclass(frozen=True)
class Start:
    """What the page shows to begin with.

    Attributes:
        model: its name.
        methods: what they are called.
        keep: share of the visual tokens.
        examples: pictures to choose from.
        hub: whether learned weights may be had from the hub.
    """

    model: str
    methods: Sequence[str]
    keep: float
    examples: Sequence[Example]
    hub: bool


@dataclass(frozen=True)
class Parts:
    """The components that something happens to."""

    path: gr.State
    upload: gr.File
    examples: gr.Dataset
    method: gr.Dropdown
    keep: gr.Slider
    hub_name: gr.Textbox
    hub_add: gr.Button
    message: gr.HTML
    kept: gr.HTML
    turns: gr.HTML
    question: gr.Textbox
    ask: gr.Button
    stop: gr.Button
    anew: gr.Button
    questions: gr.Dataset


def theme() -> gr.Theme:
    """Fonts of the reader's own system: nothing is fetched from anywhere."""
    return gr.themes.Default(primary_hue="blue", font=SYSTEM_FONTS, font_mono=FIXED_FONTS).set(
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_hover=PRESSED,
        button_primary_background_fill_dark=ACCENT,
        button_primary_background_fill_hover_dark=PRESSED,
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        slider_color=ACCENT,
        slider_color_dark=LIGHT,
        body_text_color_subdued=SOFT,
        body_text_color_subdued_dark=SOFT_DARK,
        block_label_text_color=SOFT,
        block_label_text_color_dark=SOFT_DARK,
        block_title_text_color=SOFT,
        block_title_text_color_dark=SOFT_DARK,
        input_placeholder_color=SOFT,
        input_placeholder_color_dark=SOFT_DARK,
    )


def lay_out(start: Start, limits: Limits) -> Parts:
    """Put everything on the page that is being built."""
    path = gr.State(None)
    gr.HTML(HEADER.format(start.model))
    message = gr.HTML(message_html("", False), elem_id="message")
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=280):
            upload, examples = _pictures(start, limits)
            method, keep = _method(start)
            hub_name, hub_add = _hub(start)
        with gr.Column(scale=5, min_width=300):
            kept = gr.HTML(kept_html(None, "", "", bool(start.examples)), elem_id="kept")
        with gr.Column(scale=7, min_width=340):
            turns = gr.HTML(turns_html([], (0, 0), ""), elem_id="turns", max_height="62vh", autoscroll=True)
            question, ask, questions = _question(start, limits)
            with gr.Row():
                stop = gr.Button("Stop the answer", size="sm", elem_id="stop")
                anew = gr.Button("New conversation", size="sm", elem_id="anew")
    return Parts(
        path,
        upload,
        examples,
        method,
        keep,
        hub_name,
        hub_add,
        message,
        kept,
        turns,
        question,
        ask,
        stop,
        anew,
        questions,
    )


def _pictures(start: Start, limits: Limits) -> tuple[gr.File, gr.Dataset]:
    upload = gr.File(
        label=f"Picture (at most {limits.upload / 10**6:g} MB)",
        file_types=[f".{name.lower()}" for name in (*FORMATS, "JPG", "TIF")],
        height=150,
        elem_id="upload",
    )
    examples = gr.Dataset(
        label="Or one of these",
        components=[gr.Image(render=False)],
        samples=[[str(example.path)] for example in start.examples],
        type="index",
        visible=bool(start.examples),
        elem_id="examples",
    )
    return upload, examples


def _method(start: Start) -> tuple[gr.Dropdown, gr.Slider]:
    method = gr.Dropdown(list(start.methods), value=start.methods[0], label="Method", elem_id="method")
    keep = gr.Slider(min(0.01, start.keep), 1, start.keep, step=0.01, label="Keep (share of tokens)", elem_id="keep")
    return method, keep


def _hub(start: Start) -> tuple[gr.Textbox, gr.Button]:
    with gr.Accordion("Learned weights from the hub", open=False, visible=start.hub, elem_id="hub"):
        name = gr.Textbox(label="Hub name", placeholder="owner/name", max_length=200, elem_id="hub-name")
        add = gr.Button("Add to the methods", size="sm", elem_id="hub-add")
    return name, add


def _question(start: Start, limits: Limits) -> tuple[gr.Textbox, gr.Button, gr.Dataset]:
    with gr.Row(equal_height=False, elem_id="asking"):
        question = gr.Textbox(
            label="Question",
            placeholder="Ask about the picture",
            max_length=limits.question,
            scale=5,
            min_width=200,
            elem_id="question",
        )
        ask = gr.Button("Ask both", variant="primary", scale=1, min_width=120, elem_id="ask")
    questions = gr.Dataset(
        label="Questions to try",
        components=[gr.Textbox(render=False)],
        samples=[[text] for text in QUESTIONS],
        type="values",
        visible=bool(start.examples),
        elem_id="questions",
    )
    return question, ask, questions
