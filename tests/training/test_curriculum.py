from __future__ import annotations

import pytest

from pinhole.training.curriculum import Curriculum
from pinhole.training.recipe import Step


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 0.5, 1, 1, 1]),
        ({"length": 1.0}, [0, 0.25, 0.5, 0.75, 1]),
        ({"length": 0.0}, [1] * 5),
        ({"length": 1.0, "shape": "cosine"}, [0, 0.14644661, 0.5, 0.85355339, 1]),
        ({"shape": "step"}, [0, 0, 1, 1, 1]),
        ({"direction": "full-to-mild"}, [1, 0.5, 0, 0, 0]),
        ({"direction": "full-to-mild", "length": 1.0}, [1, 0.75, 0.5, 0.25, 0]),
    ],
)
def test_the_curriculum(settings, expected):
    progress = [Curriculum(**settings).progress(Step(number, 5)) for number in range(1, 6)]
    assert progress == pytest.approx(expected)
