"""VQA's accuracy, by hand from its published definition."""

from __future__ import annotations

import itertools

import pytest

from pinhole.evaluation.vqa import normalize_vqa, vqa_accuracy


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A  Red\nCar", "red car"),
        ("U.S.A.", "usa"),
        ("2.5 m.", "2.5 m"),
        ("100,978", "100978"),
        ("red,green", "red green"),
        ("red, green", "red green"),
        ("black-and-white", "black and white"),
        ("(left)/right", "left right"),
        ("2:50 pm", "2:50 pm"),
        ("the girl's", "girl's"),
        ("dont", "don't"),
        ("couldntve", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("were well", "were well"),
        ("Two of ten", "2 of 10"),
        ("none", "0"),
        ("an apple", "apple"),
        ("50%", "50%"),
        ("What?!", "what"),
        ("", ""),
    ],
)
def test_normalization(text, plain):
    assert normalize_vqa(text) == plain


@pytest.mark.parametrize(("said", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_accuracy_over_ten_annotators(said, accuracy):
    """With one who says it: nine times 1 / 3 and once 0 of ten. With three: seven times 1 and three times 2 / 3."""
    assert vqa_accuracy("net", ["net"] * said + ["rope"] * (10 - said)) == pytest.approx(accuracy)


def test_accuracy_is_the_mean_over_all_choices_of_nine():
    references = ["two", "2", "Two.", "three", "3", "a", "none", "0", "2 ", "the two"]
    for answer in ("2", "3", "0", "a"):
        plain = [normalize_vqa(reference) for reference in references]
        nines = [min(nine.count(normalize_vqa(answer)) / 3, 1) for nine in itertools.combinations(plain, 9)]
        assert vqa_accuracy(answer, references) == pytest.approx(sum(nines) / 10)


def test_of_one_reference_it_is_whether_both_say_the_same():
    assert vqa_accuracy("The net", ["net"]) == 1
    assert vqa_accuracy("rope", ["net"]) == 0
