"""Questions asked, answers scored, and their rollouts on disk: on the embedded LVLM, and the command that does it."""

from __future__ import annotations

import pytest
import torch

from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.encoding import decode_answers, encode_turn
from pinhole.explain.labeller import LabelSettings, answer_tokens, label, labels_of
from pinhole.explain.labels import read_labels, read_settings
from pinhole.explain.rollout import relevance
from pinhole.families import family_of
from pinhole.launch import Share
from pinhole.session import Session
from pinhole.transcript import Transcript


@pytest.fixture(scope="module")
def dialogues(scenes):
    """Four dialogues; the second has two images, and the reference of its first answer is wrong."""
    four = read_dialogues(scenes)[:4]
    odd = four[1]
    turns = (Turn(odd.turns[0].question, "a giraffe"), *odd.turns[1:])
    four[1] = Dialogue(odd.id, (*odd.images, *four[0].images), turns)
    return four


def alone(embedded, dialogue, turn, weighting="gradient"):
    """One question without any batch: the answer, R_v and fingerprint of each image."""
    model, processor = embedded
    text = Transcript(processor).question(dialogue.turns[turn].question, len(dialogue.images))
    inputs = encode_turn(model, processor, [text], dialogue.load_images())
    ids = Session(model).ask(inputs, max_new_tokens=8, do_sample=False)
    [(answer, _)] = decode_answers(model, processor, ids)
    length = ids[0].tolist().index(model.generation_config.eos_token_id)
    r_v = relevance(family_of(model), inputs, ids[0, :length], weighting)
    return answer, r_v, [visual.tokens.fingerprint for visual in family_of(model).encode(inputs)[0]]


@pytest.mark.parametrize("weighting", ["gradient", "mean"])
def test_every_question_is_asked_by_itself(embedded, dialogues, tmp_path, weighting):
    settings = LabelSettings(turns="all", answers="all", weighting=weighting, batch=5)
    label(*embedded, dialogues, tmp_path, "embedded", settings, show_progress=False)
    labels = {(one.dialogue, one.turn): one for one in read_labels(tmp_path)}
    assert labels.keys() == {(dialogue.id, turn) for dialogue in dialogues for turn in range(3)}
    for dialogue in dialogues:
        for turn, asked in enumerate(dialogue.turns):
            one = labels[dialogue.id, turn]
            answer, r_v, fingerprints = alone(embedded, dialogue, turn, weighting)
            assert (one.question, one.answer) == (asked.question, answer)
            assert one.correct == (answer == asked.answer)
            assert one.sizes == tuple(map(len, r_v)) == (144,) * len(dialogue.images)
            assert one.fingerprints == tuple(fingerprints)
            for got, expected in zip(one.relevance, r_v, strict=True):
                torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-3)
    assert sum(one.correct for one in labels.values()) > 8


def test_wrong_answers_have_no_labels(embedded, dialogues):
    samples = [(dialogue, 0) for dialogue in dialogues]
    first, second, *_ = labels_of(*embedded, samples, LabelSettings())
    assert (first.correct, first.sizes, len(first.relevance), len(first.fingerprints)) == (True, (144,), 1, 1)
    assert (second.correct, second.sizes, second.relevance, second.fingerprints) == (False, (144, 144), (), ())


def test_processes_share_the_work_and_another_number_goes_on(embedded, dialogues, tmp_path):
    waited = []

    def run(rank: int, count: int, limit: int | None = None) -> None:
        share = Share(rank, count, lambda: waited.append(rank))
        label(*embedded, dialogues, tmp_path, "embedded", limit=limit, share=share, show_progress=False)

    run(0, 2, limit=3)
    assert [one.dialogue for one in read_labels(tmp_path)] == sorted([dialogues[0].id, dialogues[2].id])
    run(2, 3)  # the third of what is left by then is nothing
    assert len(read_labels(tmp_path)) == 2
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    run(1, 2)  # of the two that are left, the second
    run(0, 1)
    assert {one.dialogue for one in read_labels(tmp_path)} == {dialogue.id for dialogue in dialogues}
    assert sorted(path.name[:9] for path in tmp_path.glob("*.parquet")) == ["part-0000", "part-0000", "part-0001"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert waited == [0, 0, 2, 2, 1, 1, 0, 0]


def test_an_answer_ends_before_its_end_and_the_marks_before_that(embedded):
    model, processor = embedded
    end = model.generation_config.eos_token_id
    words = processor.tokenizer("red square", add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    mark = next(token for token in processor.tokenizer.get_added_vocab().values() if token != end)
    for behind in ([], [end], [mark, end, 5, 6], [end, *words.tolist()]):
        said = torch.cat([words, torch.tensor(behind, dtype=torch.long)])
        assert torch.equal(answer_tokens(model, processor, said), words)
    assert len(answer_tokens(model, processor, torch.tensor([end, 5]))) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"turns": "last"}, "turns is first or all, got 'last'"),
        ({"answers": "wrong"}, "answers is correct or all, got 'wrong'"),
        ({"weighting": "max"}, "weighting is gradient or mean, got 'max'"),
        ({"batch": 0}, "at least 1"),
        ({"max_answer_tokens": 0}, "at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LabelSettings(**settings)


@pytest.fixture
def command(pinhole):
    """Run `pinhole ...`; what it prints is not broken into lines."""

    def call(*arguments):
        code, out, err = pinhole(*arguments, "--device", "cpu", "--quiet")
        return code, out.replace("\n", ""), err

    return call


def test_the_command_writes_labels_and_goes_on(command, scenes, tmp_path):
    arguments = ["label", "--data", scenes, "--out", tmp_path / "labels"]
    code, out, err = command(*arguments, "--limit", 4)
    assert code == 0, err
    assert out.startswith("4 question(s) asked, ")
    labels = read_labels(tmp_path / "labels")
    assert len(labels) == 4
    assert all(bool(one.relevance) == one.correct for one in labels)
    assert {"model": "embedded", "turns": "first", "answers": "correct"}.items() <= read_settings(
        tmp_path / "labels"
    ).items()
    code, out, err = command(*arguments, "--limit", 5)
    assert code == 0, err
    assert len(read_labels(tmp_path / "labels")) == 5
    assert len([*(tmp_path / "labels").glob("*.parquet")]) == 2
    code, _, err = command(*arguments, "--all-answers")
    assert code == 1
    assert "answers was 'correct', is 'all'" in err


def test_the_command_refuses_before_it_loads_a_model(command, scenes, tmp_path):
    code, _, err = command("label", "--data", scenes, "--out", tmp_path / "labels", "--turns", "last")
    assert code == 1
    assert err.startswith("error: turns is first or all")
    assert not (tmp_path / "labels").exists()
