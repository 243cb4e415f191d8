"""Dialogues as messages, and pictures that no cache knows."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from pinhole.data import Dialogue, Turn
from pinhole.load.messages import Script, marked, script


def test_a_later_turn_carries_the_history():
    told = Script("a", ("data:1", "data:2"), ("first?", "second?", "third?"))
    opening = {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:1"}},
            {"type": "image_url", "image_url": {"url": "data:2"}},
            {"type": "text", "text": "first?"},
        ],
    }
    assert told.messages([]) == [opening]
    assert told.messages(["yes", "no"]) == [
        opening,
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "second?"},
        {"role": "assistant", "content": "no"},
        {"role": "user", "content": "third?"},
    ]


def test_a_mark_changes_two_pixels_and_never_twice_the_same_way():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    before = np.asarray(picture).copy()
    one, other = (np.asarray(marked(picture)) for _ in range(2))
    assert (np.asarray(picture) == before).all()
    assert (one != other).any()
    inner = np.ones((5, 7), bool)
    inner[0, 0] = inner[-1, -1] = False
    assert (one[inner] == before[inner]).all()
    assert np.asarray(marked(Image.new("RGB", (1, 1)))).shape == (1, 1, 3)


def test_a_script_sends_pictures_as_they_are():
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    made = script(Dialogue("a", (picture,), (Turn("q?", "a"), Turn("r?", "b"))), [picture])
    head, _, content = made.images[0].partition(",")
    assert head == "data:image/png;base64"
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(content, validate=True))))
    assert (sent[1:-1] == np.asarray(picture)[1:-1]).all()
    assert made.questions == ("q?", "r?")
