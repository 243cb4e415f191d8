"""What a visitor of the page may send, and what one may take of the machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pinhole.images import load_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read of what strangers send: decoders of other formats run programs, or are little tested."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Limits:
    """How much is taken from visitors, and held for them.

    Attributes:
        upload: bytes of a file.
        pixels: of a picture.
        question: characters.
        answer: tokens.
        turns: questions in one conversation.
        conversations: that are held at once, with their KV caches.
        waiting: requests that wait for the model; more are sent away.

    Raises:
        ValueError: one of them is below 1.
    """

    upload: int = 20 * 10**6
    pixels: int = 50 * 10**6
    question: int = 500
    answer: int = 256
    turns: int = 20
    conversations: int = 8
    waiting: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"the limit of {field.name} is at least 1, got {getattr(self, field.name)}")


def parse_size(text: str) -> int:
    """Bytes, written such as "20MB", "500 kB" or "1000"; a MB is a million of them.

    Raises:
        ValueError: none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", text.strip().upper())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"cannot read the size {text!r}: write bytes such as 20MB or 500kB")
    return int(float(found[1]) * _UNITS[found[2]])


def read_picture(path: Path, limits: Limits) -> Image.Image:
    """The picture in a file that somebody sent.

    Raises:
        ValueError: no picture, damaged, of a format that is not read, or too large; the message names the file alone.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is not here any more: choose the picture again")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            width, height = opened.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path.name} is too large: send at most {_megapixels(limits.pixels)}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path.name} is not an image that is read here: send {', '.join(FORMATS)}") from error
    if width * height > limits.pixels:
        raise ValueError(
            f"{path.name} has {width} x {height} pixels ({_megapixels(width * height)}): "
            f"send at most {_megapixels(limits.pixels)}"
        )
    try:
        return load_image(path)
    except (ValueError, OSError) as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error


def check_question(text: str, limits: Limits) -> str:
    """The question, without blanks around it.

    Raises:
        ValueError: nothing, or too much.
    """
    question = text.strip()
    if not question:
        raise ValueError("the question is empty: write one")
    if len(question) > limits.question:
        raise ValueError(f"the question has {len(question)} characters: ask in at most {limits.question}")
    return question


def _megapixels(pixels: int) -> str:
    return f"{pixels / 10**6:.3g} megapixels"
