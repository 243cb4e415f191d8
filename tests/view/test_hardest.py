"""Hand-made answers of the uncompressed model, Sample and MetaCompress to four dialogues."""

import pytest
from PIL import Image

from pinhole.data import Dialogue, Turn, digest
from pinhole.evaluation.answers import Answered
from pinhole.view.hardest import hardest

FULL, SAMPLE, OURS = "full {}", "sample {}", "metacompress {}"


def dialogue(name, turns=3, images=None, videos=()):
    asked = tuple(Turn(f"question {i} of {name}", f"answer {i}") for i in range(turns))
    return Dialogue(name, (Image.new("RGB", (900, 300)),) if images is None else images, asked, videos)


def said(method, one, correct):
    answers = [f"{method[0]} says {i}" for i in range(len(correct))]
    return Answered(method, one.id, digest([one]), answers, correct, [[144, 14]], 20)


@pytest.fixture
def results(results, row):
    """Those of the report's tests, which name their answers, and a row at another keep."""
    results["rows"].append(row("metacompress", 0.5, 72, 0.8, settings={"d_c": 64}))
    for one, contender in zip(results["rows"], (FULL, SAMPLE, OURS, "metacompress at a half"), strict=True):
        one["contender"] = contender
    return results


def answered(scores):
    """By dialogue: what the uncompressed model and MetaCompress score; Sample is always wrong."""
    records = [
        said(method, one, correct)
        for one, (full, ours) in scores.items()
        for method, correct in ((FULL, full), (OURS, ours), (SAMPLE, [0.0] * len(full)))
    ]
    return {(record.method, record.dialogue): record for record in records}


def test_the_dialogues_with_the_most_turns_lost_come_first(results):
    one, two, none, wrong = map(dialogue, ("one", "two", "none", "wrong"))
    scores = {
        one: ([1, 1, 1], [1, 1, 0]),
        two: ([1, 1, 0], [0, 0, 1]),
        none: ([1, 1, 1], [1, 1, 1]),
        wrong: ([0, 0, 0], [0, 0, 0]),
    }
    found = hardest(results, list(scores), answered(scores))
    assert [(hard.title, hard.lost) for hard in found] == [("two", 2), ("one", 1)]
    first = found[0].turns[0]
    assert (first.question, first.reference) == ("question 0 of two", "answer 0")
    assert [(one.who, one.text, one.right) for one in first.said] == [
        ("Full", "f says 0", True), ("MetaCompress", "m says 0", False), ("Sample", "s says 0", False),
    ]  # fmt: skip
    assert found[0].images[0].size == (512, 171)


def test_of_equal_ones_the_larger_loss_then_the_earlier_and_no_more_than_asked(results):
    a, b, c, d = map(dialogue, "abcd")
    scores = {a: ([1, 0, 0], [0, 1, 1]), b: ([1, 1, 1], [1, 0.4, 1]), c: ([1, 0, 1], [1, 0, 0]), d: ([1], [0])}
    scores[d] = ([1, 0, 0], [0, 0, 0])
    assert [hard.title for hard in hardest(results, list(scores), answered(scores))] == ["c", "d", "b", "a"]
    assert [hard.title for hard in hardest(results, list(scores), answered(scores), most=2)] == ["c", "d"]


def test_nothing_without_the_uncompressed_model_or_without_another(results):
    one = dialogue("one")
    scores = {one: ([1, 1, 1], [0, 0, 0])}
    assert not hardest(results | {"rows": results["rows"][1:]}, [one], answered(scores))
    assert not hardest(results | {"rows": results["rows"][:1]}, [one], answered(scores))


def test_videos_and_pictures_that_are_gone_are_counted_and_not_shown(results, tmp_path):
    seen = Image.new("RGB", (10, 10))
    videos = dialogue("videos", images=(), videos=(tmp_path / "a.mp4",))
    gone = dialogue("gone", images=(tmp_path / "gone.png", seen))
    many = dialogue("many", images=(seen,) * 6)
    scores = dict.fromkeys((videos, gone, many), ([1, 1, 1], [0, 0, 0]))
    found = hardest(results, list(scores), answered(scores))
    assert [(len(hard.images), hard.more) for hard in found] == [(0, 1), (1, 1), (4, 2)]


def test_answers_to_a_dialogue_that_changed_since_are_passed_over(results):
    before, now = dialogue("one"), dialogue("one", turns=2)
    assert not hardest(results, [now], answered({before: ([1, 1, 1], [0, 0, 0])}))
