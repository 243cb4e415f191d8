from __future__ import annotations

import re
from collections import Counter

import pytest

from pinhole.scenes.build import VOCABULARY
from pinhole.scenes.questions import KINDS, dialogue
from pinhole.scenes.world import SIDE, Scene, Thing, make_scene

COUNT = 2000


@pytest.fixture(scope="module")
def dialogues() -> list[tuple[Scene, list]]:
    made = [(scene, dialogue(scene)) for scene in (make_scene("train", i) for i in range(COUNT))]
    return [(scene, questions) for scene, questions in made if questions]


def the(things: tuple[Thing, ...], words: str) -> Thing:
    """The one thing that "the red object" or "the circle" can mean."""
    first, *rest = words.split()
    found = [t for t in things if (t.color == first if rest else t.shape == first)]
    assert rest in ([], ["object"])
    assert len(found) == 1, f"{words!r} means {len(found)} things"
    return found[0]


def answer_of(things: tuple[Thing, ...], text: str) -> tuple[str, set[Thing]]:
    """The answer by reading the question alone, and the things one must look at."""
    if match := re.fullmatch(r"What color is the (.+)\?", text):
        thing = the(things, match[1])
        return thing.color, {thing}
    if match := re.fullmatch(r"What shape is the (.+)\?", text):
        thing = the(things, match[1])
        return thing.shape, {thing}
    if match := re.fullmatch(r"Which digit is on the (.+)\?", text):
        thing = the(things, match[1])
        return str(thing.digit), {thing}
    if match := re.fullmatch(r"Where is the (.+)\?", text):
        thing = the(things, match[1])
        assert min(abs(thing.x - SIDE / 2), abs(thing.y - SIDE / 2)) >= 8, "too near to the line that decides"
        return ("bottom" if thing.y > 72 else "top") + (" right" if thing.x > 72 else " left"), {thing}
    if match := re.fullmatch(r"How many (\w+) objects are there\?", text):
        found = {t for t in things if t.color == match[1]}
        return str(sum(t.color == match[1] for t in things)), found
    if match := re.fullmatch(r"Is there (an?) (\w+) (\w+)\?", text):
        assert (match[1] == "an") == (match[2][0] in "aeiou")
        found = {t for t in things if (t.color, t.shape) == (match[2], match[3])}
        return ("yes" if found else "no"), found
    match = re.fullmatch(r"Is the (.+) left or right of the (.+)\?", text)
    assert match, f"no rule for {text!r}"
    one, other = the(things, match[1]), the(things, match[2])
    assert one != other
    assert abs(one.x - other.x) >= 16, "too near to tell"
    return ("left" if one.x < other.x else "right"), {one, other}


def test_every_answer_follows_from_the_scene(dialogues):
    for scene, questions in dialogues:
        for question in questions:
            answer, seen = answer_of(scene.things, question.text)
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
    assert min(kinds.values()) > 0.04 * sum(kinds.values())
    assert len(dialogues) > 0.85 * COUNT


def test_answers_are_balanced(dialogues):
    answers: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    for _, questions in dialogues:
        for question in questions:
            answers[question.kind][question.answer] += 1
    for kind, tolerance in (("exist", 0.06), ("relation", 0.06)):
        assert len(answers[kind]) == 2
        share = answers[kind].most_common(1)[0][1] / answers[kind].total()
        assert share < 0.5 + tolerance, (kind, answers[kind])
    for kind, kinds in (("color", 6), ("shape", 6), ("position", 4), ("digit", 6)):
        assert len(answers[kind]) == kinds
        assert answers[kind].most_common(1)[0][1] < 1.5 * answers[kind].total() / kinds, (kind, answers[kind])


def test_every_word_is_in_the_vocabulary(dialogues):
    known = set(VOCABULARY)
    for _, questions in dialogues[:500]:
        for question in questions:
            words = re.findall(r"\w+|[?,]", f"{question.text} {question.answer}".lower())
            assert set(words) <= known, question


def test_further_dialogues_about_a_scene_differ_and_stay_the_same():
    scene = make_scene("train", 0)
    made = [[q.text for q in dialogue(scene, number=n) or []] for n in range(5)]
    assert made == [[q.text for q in dialogue(scene, number=n) or []] for n in range(5)]
    assert len({tuple(texts) for texts in made}) >= 3


def test_a_scene_with_too_few_things_to_ask_about_has_no_dialogue():
    scene = make_scene("train", 0)
    twins = tuple(Thing("circle", "red", 30 + 45 * i, 72, 14) for i in range(2))
    assert dialogue(Scene("train", 0, twins, (None, None)), turns=3) is None
    assert len(dialogue(scene, turns=1)) == 1


def test_only_the_kinds_that_are_wanted_are_asked():
    made = [dialogue(make_scene("train", i), kinds=("count", "digit")) for i in range(200)]
    kinds = Counter(question.kind for questions in made if questions for question in questions)
    assert kinds.keys() == {"count", "digit"}
