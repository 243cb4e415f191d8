"""The parts of the page that change, as HTML. Whatever visitors and models wrote is escaped."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from pinhole.demo.conversation import Turn
from pinhole.demo.kept import Kept, figures
from pinhole.view.cells import NONE, percent, quantity


def kept_html(kept: Kept | None, name: str, label: str, has_examples: bool) -> str:
    """The picture with what is kept of it; an invitation where there is none.

    Args:
        kept: what there is to see.
        name: of the picture.
        label: what the method is called.
        has_examples: whether there are any to choose from.
    """
    template = _environment().get_template("kept.html.jinja")
    return template.render(kept=kept, name=name, label=label, examples=has_examples)


def turns_html(turns: Sequence[Turn], agreement: tuple[int, int], label: str) -> str:
    """Questions and answers, side by side, with what each cost.

    Args:
        turns: the first first.
        agreement: turns in which the answers agree, and all that are answered.
        label: what the compressed side is called.
    """
    template = _environment().get_template("turns.html.jinja")
    told = {"figures": figures, "percent": percent, "quantity": quantity, "none_yet": NONE}
    return template.render(turns=turns, agreement=agreement, label=label, **told)


def message_html(text: str, is_refused: bool) -> str:
    """What went wrong, or what to know; nothing where there is nothing to say."""
    kind = "refused" if is_refused else "told"
    return Markup('<p class="message {}">{}</p>').format(kind, text) if text else ""


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.PackageLoader("pinhole.demo", ""), autoescape=True, trim_blocks=True)
