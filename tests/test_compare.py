"""`pinhole compare`: paired numbers from two folders, and what it refuses to compare."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from pinhole.evaluation.answers import Answered
from pinhole.evaluation.compare import Run, compare, pairs, told_differences
from pinhole.evaluation.statistics import mcnemar, sign_flip

SETTINGS = {"model": "m", "weights": "abc", "data": "d", "dtype": "float32", "attention": "sdpa", "history": "own",
            "max_new_tokens": 16, "positions": None}  # fmt: skip


def write(folder, scores, asked="x", rows=(), **settings):
    """A run whose contenders, by name, have these turns right (1 or 0) in each dialogue."""
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(SETTINGS | settings))
    lines, written = [], list(rows)
    for name, dialogues in scores.items():
        method = name.partition("@")[0]
        right = [score for dialogue in dialogues for score in dialogue]
        written.append(
            {"method": method, "contender": name, "settings": {}, "keep": 0.1, "average": np.mean(right),
             "dialogues": len(dialogues)}
        )  # fmt: skip
        for i, turns in enumerate(dialogues):
            record = Answered(name, str(i), asked, [""] * len(turns), [float(turn) for turn in turns], [], 3)
            lines.append(json.dumps(asdict(record)))
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n")
    made = {"commit": "1", "versions": {}, "hardware": {}}
    (folder / "results.json").write_text(json.dumps({**made, "rows": written}))
    return folder


def read(*folders):
    return [Run.read(folder / "results.json") for folder in folders]


BEFORE = {"full": [[1, 1], [1, 1], [1, 0]], "sample": [[0, 0], [1, 0], [1, 0]]}
AFTER = {"full": [[1, 1], [1, 1], [1, 0]], "sample": [[1, 0], [1, 1], [0, 1]]}


def test_the_second_is_held_against_the_first_dialogue_by_dialogue(tmp_path):
    full, sample = compare(*read(write(tmp_path / "a", BEFORE), write(tmp_path / "b", AFTER)))
    assert (full.change.difference, full.change.p) == (0.0, 1.0)
    change = sample.change
    assert change.difference == pytest.approx(4 / 6 - 2 / 6)
    assert (change.gained, change.lost) == (3, 1)
    assert change.mcnemar == mcnemar(3, 1)
    assert change.p == sign_flip(np.array([1, 1, 0])) == 0.5
    assert change.p_holm == 1.0
    assert change.ci95[0] <= change.difference <= change.ci95[1]


def test_only_those_that_are_named(tmp_path):
    runs = read(write(tmp_path / "a", BEFORE), write(tmp_path / "b", AFTER))
    [found] = compare(*runs, names=["sample"])
    assert found.first["method"] == "sample"
    assert found.change.p_holm == found.change.p
    with pytest.raises(ValueError, match="not in both runs: spatial; there are full, sample"):
        compare(*runs, names=["spatial"])


def test_new_weights_of_a_method_are_compared_with_the_old_ones(tmp_path):
    runs = read(write(tmp_path / "a", {"meta@1": [[1]]}), write(tmp_path / "b", {"meta@2": [[0]]}))
    [found] = compare(*runs)
    assert (found.first["contender"], found.second["contender"]) == ("meta@1", "meta@2")
    assert found.change.difference == -1.0


def test_weights_that_both_have_go_together_and_what_is_ambiguous_does_not():
    rows = [{"method": "meta", "contender": name, "settings": {}, "keep": 0.1} for name in ("1", "2", "3")]
    assert [(one["contender"], other["contender"]) for one, other in pairs(rows[:2], rows[1:])] == [
        ("1", "3"), ("2", "2"),
    ]  # fmt: skip
    assert pairs(rows[:2], rows[2:]) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"history": "gold"}, r"unlike \(history was 'own', is 'gold'\)$"),
        ({"max_new_tokens": 4}, "max_new_tokens was 16, is 4"),
        ({"scoring": "loose"}, "scoring was None, is 'loose'"),
        ({"weights": "def"}, r"weights was 'abc', is 'def'\): --across-models compares them all the same"),
    ],
)
def test_unlike_runs_are_refused(tmp_path, settings, message):
    runs = read(write(tmp_path / "a", BEFORE), write(tmp_path / "b", AFTER, **settings))
    with pytest.raises(ValueError, match=message):
        compare(*runs)


def test_models_may_differ_where_it_is_said(tmp_path):
    other = write(tmp_path / "b", AFTER, model="n", weights="def", dtype="bfloat16", positions="original")
    runs = read(write(tmp_path / "a", BEFORE), other)
    assert len(compare(*runs, across_models=True)) == 2
    [line] = told_differences(*runs)
    for told in ("model was 'm', is 'n'", "positions was None, is 'original'", "dtype was"):
        assert told in line
    gold = read(tmp_path / "a", write(tmp_path / "c", AFTER, weights="def", history="gold"))
    with pytest.raises(ValueError, match=r"history was 'own', is 'gold'\)"):
        compare(*gold, across_models=True)


def test_how_methods_are_applied_may_differ_and_is_told(tmp_path):
    runs = read(write(tmp_path / "a", BEFORE), write(tmp_path / "b", AFTER, positions="original", data="elsewhere"))
    assert len(compare(*runs)) == 2
    assert told_differences(*runs) == ["data was 'd', is 'elsewhere'; positions was None, is 'original'"]


@pytest.mark.parametrize(
    ("after", "asked", "message"),
    [
        (AFTER, "y", "3 dialogues were answered in the one and 3 in the other, and 0 of these are the same"),
        ({name: turns[:2] for name, turns in AFTER.items()}, "x", "and 2 in the other, and 2 of these"),
    ],
)
def test_other_data_is_refused(tmp_path, after, asked, message):
    runs = read(write(tmp_path / "a", BEFORE), write(tmp_path / "b", after, asked=asked))
    with pytest.raises(ValueError, match=message):
        compare(*runs)


def test_runs_without_a_contender_in_common_are_refused(tmp_path):
    runs = read(write(tmp_path / "a", {"full": [[1]]}), write(tmp_path / "b", {"sample": [[1]]}))
    with pytest.raises(ValueError, match="no contender is in both: full there, sample here"):
        compare(*runs)


def test_folders_that_are_not_whole_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no results.json and no evaluation.json and no answers.jsonl"):
        Run.read(tmp_path / "results.json")
    old = write(tmp_path / "old", BEFORE, rows=[{"method": "spatial"}])
    with pytest.raises(ValueError, match="from an older Pinhole"):
        Run.read(old)
    more = write(tmp_path / "more", BEFORE, rows=[{"method": "spatial", "contender": "sample", "dialogues": 9}])
    with pytest.raises(ValueError, match="answers to 3 dialogues of spatial, its results are of 9"):
        Run.read(more)
    unjudged = write(tmp_path / "unjudged", {"full": [[1], []]})
    with pytest.raises(ValueError, match="have no scores yet: run pinhole eval with --judge"):
        Run.read(unjudged)


def test_the_command_prints_a_table_or_json(pinhole, tmp_path):
    folders = write(tmp_path / "a", BEFORE), write(tmp_path / "b", AFTER, positions="original")
    code, shown, _ = pinhole("compare", *folders)
    assert code == 0
    assert "+33.3 [" in shown
    assert "+3 −1" in shown
    assert "they differ in: positions was None, is 'original'" in shown
    told = json.loads(pinhole("compare", *folders, "--contender", "sample", "--json")[1])
    [row] = told["rows"]
    assert (row["method"], row["first"], row["second"]) == ("sample", pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert row["difference"] == pytest.approx(1 / 3)
    assert told["differ_in"] == ["positions was None, is 'original'"]
