"""What is sent in a soak, and what is wrong with a reply."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pinhole.load.client import Reply
from pinhole.load.faults import MUST_FAIL, broken_cases, fault, good_cases


def picture(case):
    [url] = case.script.images
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2], validate=True)))
    image.load()
    return image


def test_broken_pictures_are_broken_and_odd_ones_whole():
    cases = {case.kind: case for case in broken_cases(0)}
    for kind in MUST_FAIL:
        with pytest.raises((ValueError, OSError)):
            picture(cases.pop(kind))
    assert {kind: picture(case).size for kind, case in cases.items()} == {"1 x 1": (1, 1), "20,000 wide": (20_000, 24)}


def test_good_pictures_differ_and_come_again_with_their_seed():
    cases = good_cases(8, 3)
    shown = [np.asarray(picture(case)) for case in cases]
    assert len({pixels.tobytes() for pixels in shown}) == 8
    assert all(32 <= side < 640 for pixels in shown for side in pixels.shape[:2])
    assert [case.script for case in cases] == [case.script for case in good_cases(8, 3)]


def test_an_answer_that_changed_is_told_from_one_of_another():
    case = good_cases(1, 0)[0]

    def reply(text, status=200, reason=None):
        return Reply(status, reason, text, 0.1, 0.2, 1, 0, 1)

    alone = reply("a b")
    assert fault(case, alone, reply("a b"), {}) is None
    assert fault(case, alone, reply("c"), {"c": "good 7"}) == "good 0: 'c' is the answer of good 7"
    assert fault(case, alone, reply("c"), {}) == "good 0: 'c' is not what it is alone, 'a b'"
    assert fault(case, alone, reply("", 429, "busy"), {}).endswith("(it was answered alone)")
