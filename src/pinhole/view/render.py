"""Fills in a template of this package as one HTML file that needs nothing beside it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(path: str | Path, template: str, **values: Any) -> None:
    """Write a page: it opens offline, prints, and follows the reader's light or dark setting.

    Args:
        path: of the page; its folder exists.
        template: its name; it extends `base.html.jinja`.
        values: what the template names; texts are escaped.
    """
    environment = Environment(
        loader=PackageLoader("pinhole.view", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = Markup(resources.files("pinhole.view").joinpath("report.css").read_text("utf-8"))
    page = environment.get_template(template).render(style=style, **values)
    Path(path).write_text(page, encoding="utf-8")
