"""When an answer counts as right."""

from __future__ import annotations

import pytest

from pinhole.evaluation.scoring import exact_match, normalize


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  The Red   circle. ", "red circle"),
        ("A, an; THE!", ""),
        ("top-left", "top left"),
        ("it's", "it s"),
        ("theatre", "theatre"),
        ("Ärger_2", "ärger 2"),
    ],
)
def test_normalize(text, plain):
    assert normalize(text) == plain


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [("Yes.", "yes", True), ("the top left", "top left", True), ("red circle", "red", False), ("", "no", False)],
)
def test_exact_match(answer, reference, right):
    assert exact_match(answer, reference) is right
