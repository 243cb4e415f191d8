"""Dialogues as OpenAI chat messages, with pictures that no cache of a server knows."""

from __future__ import annotations

import base64
import io
import secrets
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pinhole.data import Dialogue

Message = dict[str, Any]


@dataclass(frozen=True)
class Script:
    """A dialogue that is ready to be played.

    Attributes:
        id: of the dialogue.
        images: as data URLs.
        questions: one a turn.
    """

    id: str
    images: tuple[str, ...]
    questions: tuple[str, ...]

    def messages(self, answers: list[str]) -> list[Message]:
        """The dialogue up to the question behind `answers`, which are the server's own."""
        parts: list[Message] = [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
        parts.append({"type": "text", "text": self.questions[0]})
        told: list[Message] = [{"role": "user", "content": parts}]
        for answer, question in zip(answers, self.questions[1:], strict=False):
            told += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
        return told


def script(dialogue: Dialogue, images: list[Image.Image]) -> Script:
    """A dialogue with its pictures marked, so that playing it again finds nothing of it in a server's caches."""
    urls = tuple(data_url(png(marked(image))) for image in images)
    return Script(dialogue.id, urls, tuple(turn.question for turn in dialogue.turns))


def marked(image: Image.Image) -> Image.Image:
    """A copy of an RGB picture whose first and last pixel have colours by chance (48 bits).

    Servers find earlier work by a digest of the picture: of the prompt's KV blocks, the encoder's output, the pixels.
    """
    copy = image.copy()
    for place in ((0, 0), (image.width - 1, image.height - 1)):
        red, green, blue = secrets.token_bytes(3)
        copy.putpixel(place, (red, green, blue))
    return copy


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def data_url(content: bytes) -> str:
    """An image file's bytes as a data URL."""
    return "data:image/png;base64," + base64.b64encode(content).decode()
