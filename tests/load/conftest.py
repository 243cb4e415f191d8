"""Servers to ask, and dialogues to ask them."""

from __future__ import annotations

import pytest
from PIL import Image

from pinhole.data import Dialogue, Turn
from stub_server import Stub


@pytest.fixture
def stubs():
    """Makes servers, and stops them."""
    made: list[Stub] = []

    def make() -> Stub:
        made.append(Stub())
        return made[-1]

    yield make
    for stub in made:
        stub.close()


@pytest.fixture
def stub(stubs):
    return stubs()


@pytest.fixture
def dialogues():
    """Makes dialogues about small grey pictures."""

    def make(count: int, turns: int = 1) -> list[Dialogue]:
        return [
            Dialogue(
                f"d{i}",
                (Image.new("RGB", (8, 6), (9, 9, 9)),),
                tuple(Turn(f"question {i} {j}", "gold") for j in range(turns)),
            )
            for i in range(count)
        ]

    return make
