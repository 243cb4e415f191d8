"""What a soak sends, whole pictures and broken ones, and what is wrong with a reply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pinhole.load.client import OK, Reply
from pinhole.load.messages import Message, Script, data_url, png

QUESTIONS = ("What is it?", "Which colour is it?", "How many are there?", "Is it round?")
MUST_FAIL = ("not an image", "truncated", "wrong base64", "empty")
"""Kinds that no server may answer; the others that are not good (1 x 1, 20,000 pixels wide) it may answer or refuse."""


@dataclass(frozen=True)
class Case:
    """One request: what it is, and its picture and question."""

    kind: str
    script: Script

    @property
    def messages(self) -> list[Message]:
        """The request's."""
        return self.script.messages([])


def noise(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A picture by chance, in blocks of colour, so that pictures differ for a model too."""
    small = Image.fromarray(rng.integers(0, 256, (max(1, height // 16), max(1, width // 16), 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.NEAREST)


def good_cases(count: int, seed: int) -> list[Case]:
    """Pictures of unlike sizes, each with a question."""
    rng = np.random.default_rng(seed)
    sizes = [tuple(int(side) for side in rng.integers(32, 640, 2)) for _ in range(count)]
    return [
        _case("good", f"good {i}", data_url(png(noise(rng, *size))), QUESTIONS[i % len(QUESTIONS)])
        for i, size in enumerate(sizes)
    ]


def broken_cases(seed: int) -> list[Case]:
    """One of each kind."""
    rng = np.random.default_rng(seed)
    whole = png(noise(rng, 320, 240))
    urls = {
        "not an image": data_url(b"This is text, and no picture at all. " * 20),
        "truncated": data_url(whole[: len(whole) // 2]),
        "wrong base64": "data:image/png;base64,@@@ this is not base64 @@@",
        "empty": data_url(b""),
        "1 x 1": data_url(png(noise(rng, 1, 1))),
        "20,000 wide": data_url(png(noise(rng, 20_000, 24))),
    }
    return [_case(kind, kind, url, QUESTIONS[0]) for kind, url in urls.items()]


def _case(kind: str, name: str, url: str, question: str) -> Case:
    return Case(kind, Script(name, (url,), (question,)))


def fault(case: Case, alone: Reply, reply: Reply, others: dict[str, str]) -> str | None:
    """What is wrong with a reply, in words; None where it is what the request got alone.

    Args:
        case: what was asked.
        alone: what it got when nothing else was asked.
        reply: what it got now.
        others: the name of the good case that has this answer, by answer.
    """
    told = f"{case.script.id}: {reply.status} {reply.reason or ''}".rstrip()
    if reply.status != OK and not (400 <= reply.status < 500 and reply.reason):
        return f"{told} (no answer, and no 4xx with a reason)"
    if case.kind == "good" and reply.status != OK:
        return f"{told} (it was answered alone)"
    if case.kind in MUST_FAIL and reply.status == OK:
        return f"{told} (such a picture cannot be answered)"
    if reply.status != alone.status:
        return f"{told} (alone: {alone.status})"
    if reply.status == OK and reply.text != alone.text:
        whose = others.get(reply.text)
        mixed = f"the answer of {whose}" if whose else f"not what it is alone, {alone.text!r}"
        return f"{case.script.id}: {reply.text!r} is {mixed}"
    return None
