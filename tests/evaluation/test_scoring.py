"""When an answer counts as right."""

from __future__ import annotations

from typing import get_args

import pytest

from pinhole.data import Scoring, Turn
from pinhole.evaluation import scoring
from pinhole.evaluation.scoring import chosen_letter, exact_match, normalize, score


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


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        (" (B) ", "B"),
        ("B.", "B"),
        ("(b)", "B"),
        ("B. Two", "B"),
        ("(B) Two", "B"),
        ("B) Two", "B"),
        ("B: two", "B"),
        ("The best answer is B.", "B"),
        ("Answer: (D)", "D"),
        ("I think option C fits", "C"),
        ("A dog is seen", None),
        ("two", None),
        ("U.S. troops", None),
        ("", None),
    ],
)
def test_the_letter_that_an_answer_names(answer, letter):
    assert chosen_letter(answer) == letter


def test_a_choice_is_right_by_its_letter_or_by_all_of_its_words():
    turn = Turn("How many?", "C", references=("C. Two dogs.",), scoring="choice")
    said = {
        "C": True,
        "C. Two": True,
        "two dogs": True,
        "Two Dogs.": True,
        "two": False,
        "B. Two dogs.": False,
        "": False,
    }
    assert {answer: score(answer, turn) for answer in said} == said


def test_each_turn_is_scored_in_its_own_way():
    references = ("net",) * 2 + ("mesh",) * 8
    assert score("The net!", Turn("?", "net")) is True
    assert score("mesh", Turn("?", "net", references=("mesh", "rope"))) is True
    assert score("net", Turn("?", "mesh", references=references, scoring="vqa")) == pytest.approx(0.6)
    assert score("net", Turn("?", "net", scoring="vqa")) == 1
    with pytest.raises(ValueError, match="a judge scores this turn"):
        score("net", Turn("?", "net", scoring="judge"))


def test_every_way_to_score_but_the_judges_has_a_function():
    assert {*scoring._SCORERS} == {*get_args(Scoring)} - {"judge"}
