from __future__ import annotations

import re
from collections import Counter

import pytest

from pinhole.scenes.build import SIGNS_VOCABULARY
from pinhole.scenes.signs.questions import KINDS, ask, dialogue
from pinhole.scenes.signs.world import WORDS, Chart, Sign, SignScene, make_scene
from pinhole.scenes.world import SIDE

COUNT = 2000


@pytest.fixture(scope="module")
def dialogues() -> list[tuple[SignScene, list]]:
    made = [(scene, dialogue(scene)) for scene in (make_scene("train", i) for i in range(COUNT))]
    return [(scene, questions) for scene, questions in made if questions]


def only(found: list) -> Sign:
    assert len(found) == 1, f"{len(found)} things are meant"
    return found[0]


def answer_of(chart: Chart, signs: list[Sign], text: str) -> tuple[str, set]:
    """The answer by reading the question alone, and the things one must look at."""
    heights = {bar.color: bar.height for bar in chart.bars}
    if match := re.fullmatch(r"Which word is on the (\w+) sign\?", text):
        sign = only([s for s in signs if s.color == match[1]])
        return sign.word, {sign}
    if match := re.fullmatch(r"What color is the sign with (\w+)\?", text):
        sign = only([s for s in signs if s.word == match[1]])
        return sign.color, {sign}
    if match := re.fullmatch(r"How many (\w+) signs are there\?", text):
        found = {s for s in signs if s.color == match[1]}
        return str(len(found)), found
    if match := re.fullmatch(r"Is there an? (?:(\w+) )?sign with (\w+)\?", text):
        assert text.startswith("Is there an ") == (match[1] == "orange")
        found = {s for s in signs if s.word == match[2] and match[1] in (None, s.color)}
        return ("yes" if found else "no"), found
    if match := re.fullmatch(r"Where is the (.+)\?", text):
        named = {**{f"{s.color} sign": [] for s in signs}, **{f"sign with {s.word}": [s] for s in signs}}
        for sign in signs:
            named[f"{sign.color} sign"].append(sign)
        thing = only({**named, "chart": [chart]}[match[1]])
        assert min(abs(thing.x - SIDE / 2), abs(thing.y - SIDE / 2)) >= 8, "too near to the line that decides"
        return ("bottom" if thing.y > 72 else "top") + (" right" if thing.x > 72 else " left"), {thing}
    if match := re.fullmatch(r"Which bar is the (tallest|shortest)\?", text):
        return (max if match[1] == "tallest" else min)(heights, key=heights.get), {chart}
    if text == "How many bars are on the chart?":
        return str(len(heights)), {chart}
    match = re.fullmatch(r"Is the (\w+) bar taller than the (\w+) bar\?", text)
    assert match, f"no rule for {text!r}"
    return ("yes" if heights[match[1]] > heights[match[2]] else "no"), {chart}


def test_every_answer_follows_from_the_scene(dialogues):
    for scene, questions in dialogues:
        chart, *signs = scene.things
        for question in questions:
            answer, seen = answer_of(chart, signs, question.text)
            assert question.answer == answer, (scene.index, question)
            assert seen <= {scene.things[i] for i in question.about}, (scene.index, question)


def test_three_turns_ask_different_things_about_different_objects(dialogues):
    for _, questions in dialogues:
        assert len(questions) == 3
        about = [i for question in questions for i in question.about]
        assert len(about) == len(set(about))
        assert len({question.text for question in questions}) == 3


def test_every_kind_is_asked_and_most_scenes_have_a_dialogue(dialogues):
    kinds = Counter(question.kind for _, questions in dialogues for question in questions)
    assert kinds.keys() == KINDS.keys()
    assert min(kinds.values()) > 0.06 * sum(kinds.values())
    assert len(dialogues) > 0.95 * COUNT


def test_answers_are_balanced(dialogues):
    answers: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    for _, questions in dialogues:
        for question in questions:
            answers[question.kind][question.answer] += 1
    for kind, kinds in (("exist", 2), ("taller", 2), ("position", 4), ("bars", 3), ("color", 6), ("bar", 6)):
        assert len(answers[kind]) == kinds
        assert answers[kind].most_common(1)[0][1] < 1.25 * answers[kind].total() / kinds, (kind, answers[kind])
    assert set(answers["word"]) == set(WORDS)
    assert answers["word"].most_common(1)[0][1] < 1.6 * answers["word"].total() / len(WORDS)


def test_half_of_the_noes_join_a_word_and_a_color_that_are_both_there(dialogues):
    noes = [
        (scene, question.text)
        for scene, questions in dialogues
        for question in questions
        if question.kind == "exist" and question.answer == "no"
    ]
    joined = 0
    for scene, text in noes:
        color, word = re.fullmatch(r"Is there an? (?:(\w+) )?sign with (\w+)\?", text).groups()
        signs = scene.things[1:]
        if color:
            joined += 1
            assert any(sign.color == color for sign in signs)
            assert any(sign.word == word for sign in signs)
    assert 0.4 < joined / len(noes) < 0.6


def test_every_word_is_in_the_vocabulary(dialogues):
    known = set(SIGNS_VOCABULARY)
    for _, questions in dialogues:
        for question in questions:
            words = re.findall(r"\w+|[?,]", f"{question.text} {question.answer}".lower())
            assert set(words) <= known, question


def test_further_dialogues_about_a_scene_differ_and_stay_the_same():
    scene = make_scene("train", 0)
    made = [[q.text for q in dialogue(scene, number=n) or []] for n in range(5)]
    assert made == [[q.text for q in dialogue(scene, number=n) or []] for n in range(5)]
    assert len({tuple(texts) for texts in made}) >= 3


def test_a_chart_alone_has_no_three_turns_and_nothing_about_signs():
    scene = make_scene("train", 0)
    chart = scene.part([0])
    assert dialogue(chart, turns=2) is None
    assert len(dialogue(chart, turns=1)) == 1
    assert ask(chart, scene.generator("test"), kinds=["word", "color", "count", "exist"]) is None
    assert ask(scene.part([1]), scene.generator("test"), kinds=["bar", "bars", "taller"]) is None


def test_only_the_kinds_that_are_wanted_are_asked():
    made = [dialogue(make_scene("train", i), kinds=("word", "taller")) for i in range(200)]
    kinds = Counter(question.kind for questions in made if questions for question in questions)
    assert kinds.keys() == {"word", "taller"}
