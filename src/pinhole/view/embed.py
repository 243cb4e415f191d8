"""Pictures as text inside an HTML page: no file beside it, no network."""

from __future__ import annotations

import base64
import io
import re
from typing import Literal

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from pinhole.view.ink import INK


def data_url(image: Image.Image, kind: Literal["PNG", "WEBP"] = "PNG") -> str:
    """The picture in a `data:` URL, for the `src` of an image: exact as PNG, a tenth of the size as WebP."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 88}))
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


def inline_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an `<svg>` element that takes the text colour of the page around it.

    Args:
        figure: drawn with `INK` for words and axes.
        name: prefix of the element's ids, different for each figure of a page.
        description: what it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<svg width="[^"]*" height="[^"]*"|<svg height="[^"]*" width="[^"]*"', "<svg", text, count=1)
    opening = Markup('<svg role="img" aria-label="{}"').format(description)
    return opening + Markup(text.removeprefix("<svg"))
