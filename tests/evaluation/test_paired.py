"""Comparisons from answers: counted by hand, and in the results that `pinhole eval` writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pinhole.data import read_dialogues
from pinhole.evaluation.answers import Answered, read_answers
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.paired import corrected, paired, recovery
from pinhole.evaluation.statistics import mcnemar, sign_flip
from pinhole.families import family_of


def answers(*dialogues):
    return [Answered("m", str(i), "", [""] * len(turns), turns, [[4, 2]], 3) for i, turns in enumerate(dialogues)]


ONE = answers([True, True], [True, False, True], [False])
OTHER = answers([True, False], [False, True, True], [False])


def test_a_comparison_by_hand():
    found = paired(ONE, OTHER)
    assert found.difference == pytest.approx((4 - 3) / 6)
    assert (found.gained, found.lost) == (2, 1)
    assert found.mcnemar == mcnemar(2, 1)
    assert found.p == sign_flip(np.array([1, 0, 0])) == 1.0
    assert found.p_holm is None
    assert found.ci95[0] <= found.difference <= found.ci95[1]


def test_mcnemar_is_for_right_or_wrong_alone():
    found = paired(answers([0.3, 1.0], [1.0]), answers([0.9, 1.0], [0.0]))
    assert found.mcnemar is None
    assert found.difference == pytest.approx((2.3 - 1.9) / 3)
    assert found.p == 1.0


def test_the_correction_is_for_all_that_were_compared():
    first = paired(answers(*[[True]] * 12), answers(*[[False]] * 12))
    second = paired(answers(*[[True]] * 12), answers(*[[True]] * 12))
    assert [one.p_holm for one in corrected([first, second])] == pytest.approx([2 * 2 / 2**12, 1.0])


def test_recovery_of_a_model_that_is_never_right_is_unknown():
    assert recovery(ONE, answers([False, False], [False] * 3, [False])) == (None, None)
    assert recovery(ONE, OTHER)[0] == pytest.approx(4 / 3)


@pytest.fixture(scope="module")
def rows(embedded, scenes, tmp_path_factory):
    model, processor = embedded
    rivals = contenders(["full", "sample", "random"], [0.1], family_of(model).shape)
    out = tmp_path_factory.mktemp("paired")
    names = Names("embedded", "scenes")
    options = {"ttft_dialogues": 0, "show_progress": False}
    evaluate(model, processor, rivals, read_dialogues(scenes), out, names, **options)
    answered = read_answers(out / "answers.jsonl")
    return answered, json.loads((out / "results.json").read_text())["rows"]


def test_results_hold_every_row_against_full_and_sample(rows):
    answered, (full, sample, random) = rows
    assert (full["to_full"], sample["to_sample"]) == (None, None)
    for row, other, field in [(sample, full, "to_full"), (random, full, "to_full"), (random, sample, "to_sample")]:
        names = sorted({dialogue for _, dialogue in answered})
        one, base = ([answered[r["contender"], name] for name in names] for r in (row, other))
        assert row[field]["difference"] == pytest.approx(row["average"] - other["average"])
        assert row[field]["p"] == paired(one, base).p
        assert row[field]["p"] <= row[field]["p_holm"] <= 2 * row[field]["p"]
    assert (random["delta_to_sample"], random["delta_ci95"]) == (
        random["to_sample"]["difference"],
        random["to_sample"]["ci95"],
    )


def test_results_have_the_recovery_with_its_interval(rows):
    _, (full, sample, _) = rows
    assert (full["recovery"], full["recovery_ci95"]) == (None, None)
    assert sample["recovery"] == pytest.approx(sample["average"] / full["average"])
    low, high = sample["recovery_ci95"]
    assert low < sample["recovery"] < high
