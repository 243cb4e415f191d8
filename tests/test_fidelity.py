"""runs/fidelity.py and runs/fidelity_looks.py on answers and scenes made by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pinhole.layout import Layout, View
from pinhole.reduction import Reduction
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import Scene, Thing, make_scene

RUNS = Path(__file__).parents[1] / "runs"
RIGHT, WRONG, MIXED = [1, 1, 1], [0, 0, 0], [1, 1, 0]


def asked(folder: Path, contenders: dict[str, tuple[str, float, list[list[int]]]]) -> None:
    """What `pinhole eval` leaves of contenders: by key their method, keep, and right answers in each dialogue."""
    folder.mkdir(parents=True)
    rows, lines = [], []
    for key, (method, keep, right) in contenders.items():
        rows.append(
            {"method": method, "contender": key, "keep": keep, "kept_tokens": 14, "by_kind": {"color": right[0][0]}}
        )
        for number, correct in enumerate(right):
            record = {
                "method": key,
                "dialogue": f"test-{number}",
                "asked": "x",
                "answers": ["a"] * 3,
                "correct": correct,
            }
            lines.append(json.dumps({**record, "images": [[144, 14]], "text_tokens": 9}))
    (folder / "results.json").write_text(json.dumps({"rows": rows}))
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def part(tmp_path):
    rivals = {"full": ("full", 1.0, [RIGHT, RIGHT]), "sample": ("sample", 0.1, [WRONG, MIXED])}
    asked(tmp_path / "shapes" / "rivals", rivals)
    seeds = {"a": ("pinhole", 0.1, [MIXED, RIGHT]), "b": ("pinhole", 0.1, [RIGHT, RIGHT])}
    asked(tmp_path / "shapes" / "Pinhole", seeds)
    return tmp_path / "shapes"


def test_seeds_are_one_row_and_the_gap_is_that_to_sample(part):
    rows, dialogues = runpy.run_path(str(RUNS / "fidelity.py"))["rows_of"](part)
    assert dialogues == 2
    full, sample, ours = rows
    assert [(row["name"], row["seeds"]) for row in rows] == [("Full", 1), ("Sample", 1), ("Pinhole", 2)]
    assert ours["turns"] == [1, 1, 0.75]
    assert (full["average"], sample["average"], ours["average"]) == pytest.approx((1, 2 / 6, 5.5 / 6))
    assert ours["gap_closed"] == pytest.approx(3.5 / 4)
    assert sample["to_ours"] == pytest.approx(-3.5 / 6)
    assert "to_ours" not in ours


def test_answers_are_counted_by_the_smallest_thing_asked_about(part):
    script = runpy.run_path(str(RUNS / "fidelity.py"))
    radii = []
    for index in (0, 1):
        scene = make_scene("test", index)
        radii += [min(scene.things[i].radius for i in question.about) for question in dialogue(scene, 3)]
    _, sample, _ = script["rows_of"](part)[0]
    for (least, most), share in zip(script["SIZES"], sample["by_size"], strict=True):
        right = [bool(one) for one, radius in zip(WRONG + MIXED, radii, strict=True) if least <= radius <= most]
        assert share == pytest.approx(sum(right) / len(right))


def test_questions_about_nothing_have_no_size():
    """A count may be of none: such an answer is in no class of sizes."""
    names = [f"test-{index}" for index in range(40) if dialogue(make_scene("test", index), 3)]
    sizes = runpy.run_path(str(RUNS / "fidelity.py"))["sizes_of"](names, 3)
    asked = [question for name in names for question in dialogue(make_scene("test", int(name[5:])), 3)]
    nothing = [not question.about for question in asked]
    assert any(nothing)
    assert np.isnan(sizes.flatten()).tolist() == nothing


def test_a_look_at_p():
    look = runpy.run_path(str(RUNS / "fidelity_looks.py"))["look"]
    things = (Thing("circle", "red", 36, 36, 18), Thing("square", "blue", 108, 108, 18))
    scene, layout = Scene("test", 0, things, (None, None)), Layout.of(View(2, 2))
    found = look(scene, Reduction.select(torch.tensor([0, 1]), 4), layout)
    assert found == {
        "weight_on_things": 0.5,
        "anchors_on_things": 0.5,
        "things_with_an_anchor": 0.5,
        "tokens_a_row": 1.0,
    }
    mixed = look(scene, Reduction.mix(torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.0, 1.0]])), layout)
    assert mixed["weight_on_things"] == 0.75
    assert mixed["tokens_a_row"] == pytest.approx((4 + 1) / 2)
    assert mixed["things_with_an_anchor"] == 1
