"""Evaluation end to end: what it writes, that it resumes, and that its numbers can be recomputed from the answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pinhole.budget import Budget
from pinhole.chat import Chat
from pinhole.data import Dialogue, read_dialogues
from pinhole.evaluation import runner
from pinhole.evaluation.answers import AnswerFile
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.evaluation.scoring import exact_match
from pinhole.families import family_of
from pinhole.methods.sample import Sample
from pinhole.scope import Scope

NAMES = Names("embedded", "scenes")
KEYS = {
    "method", "settings", "keep", "visual_tokens", "kept_tokens", "per_layer", "accuracy", "average", "ci95",
    "delta_to_sample", "delta_ci95", "by_kind", "flops", "kv_bytes", "ttft_ms",
}  # fmt: skip


def run(embedded, dialogues, out, methods=("full", "sample", "random"), keeps=(0.1,), **options):
    model, processor = embedded
    rivals = contenders(list(methods), list(keeps), family_of(model).shape)
    options = {"ttft_dialogues": 0, "show_progress": False, **options}
    return rivals, evaluate(model, processor, rivals, dialogues, out, NAMES, **options)


@pytest.fixture(scope="module")
def finished(embedded, scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    dialogues = read_dialogues(scenes)
    rivals, results = run(embedded, dialogues, out, ttft_dialogues=2)
    return out, dialogues, rivals, results


def test_results_have_the_documented_layout(finished):
    out, dialogues, _, results = finished
    assert results == json.loads((out / "results.json").read_text())
    assert {"model", "data", "commit", "versions", "hardware", "rows"} == results.keys()
    assert [row["method"] for row in results["rows"]] == ["full", "sample", "random"]
    for row in results["rows"]:
        assert row.keys() >= KEYS
        assert len(row["accuracy"]) == 3
        assert row["ci95"][0] <= row["average"] <= row["ci95"][1]
        assert row["ttft_ms"] > 0
        assert row["dialogues"] == len(dialogues)


def test_accuracies_can_be_recomputed_from_the_answers(finished):
    out, dialogues, rivals, results = finished
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == len(rivals) * len(dialogues)
    for rival, row in zip(rivals, results["rows"], strict=True):
        said = {line["dialogue"]: line["answers"] for line in lines if line["method"] == rival.key}
        right = np.array(
            [[exact_match(a, t.answer) for a, t in zip(said[d.id], d.turns, strict=True)] for d in dialogues]
        )
        assert row["accuracy"] == pytest.approx(right.mean(0).tolist())
        assert row["average"] == pytest.approx(right.mean())
        kinds = np.array([[turn.kind for turn in d.turns] for d in dialogues])
        for kind, share in row["by_kind"].items():
            assert share == pytest.approx(right[kinds == kind].mean())


def test_the_difference_to_sample_is_paired(finished):
    _, _, _, results = finished
    full, sample, rand = results["rows"]
    assert (sample["delta_to_sample"], sample["delta_ci95"]) == (None, None)
    for row in (full, rand):
        assert row["delta_to_sample"] == pytest.approx(row["average"] - sample["average"])
        assert row["delta_ci95"][0] <= row["delta_to_sample"] <= row["delta_ci95"][1]


def test_costs_are_those_of_the_budget(finished, embedded):
    out, _, rivals, results = finished
    shape = family_of(embedded[0]).shape
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    for rival, row, kept in zip(rivals, results["rows"], (144, 14, 14), strict=True):
        assert (row["visual_tokens"], row["kept_tokens"]) == (144, kept)
        texts = [line["text_tokens"] for line in lines if line["method"] == rival.key]
        budget = Budget.constant(144, kept, shape.layers)
        assert row["flops"] == pytest.approx(np.mean([budget.prefill_flops(shape, text) for text in texts]))
        assert row["kv_bytes"] == pytest.approx(np.mean([budget.kv_bytes(shape, text) for text in texts]))


@pytest.mark.parametrize("history", ["own", "gold"])
def test_batched_answers_are_those_of_one_chat_at_a_time(embedded, scenes, history):
    model, processor = embedded
    dialogues = read_dialogues(scenes)[:4]
    (rival,) = contenders(["sample"], [0.25], family_of(model).shape)
    batched = hold(model, processor, rival, dialogues, EvalSettings(history=history, max_new_tokens=6))
    for dialogue, record in zip(dialogues, batched, strict=True):
        alone = hold(model, processor, rival, [dialogue], EvalSettings(history=history, max_new_tokens=6))
        assert alone[0] == record
        if history == "own":
            chat = Chat(model, processor, Sample(keep=0.25), max_new_tokens=6)
            said = [chat.ask(t.question, None if i else dialogue.load_images()) for i, t in enumerate(dialogue.turns)]
            assert said == record.answers


def test_gold_history_is_what_later_turns_read(embedded, scenes, monkeypatch):
    """With gold history the context holds the reference answers, whatever the model said."""
    model, processor = embedded
    dialogue = read_dialogues(scenes)[0]
    sessions = []
    real = runner.Session
    monkeypatch.setattr(runner, "Session", lambda *a, **k: sessions.append(real(*a, **k)) or sessions[-1])
    (rival,) = contenders(["full"], [0.1], family_of(model).shape)
    hold(model, processor, rival, [dialogue], EvalSettings(history="gold", max_new_tokens=3))
    context = processor.tokenizer.decode(sessions[0].context.input_ids[0]).replace("<image>", "")
    for turn in dialogue.turns[:2]:
        assert f"ASSISTANT: {turn.answer} </s>" in context


def test_the_scope_reaches_every_session_and_what_is_noted_of_the_run(embedded, scenes, tmp_path, monkeypatch):
    sessions, scope = [], Scope(positions="original")
    real = runner.Session
    monkeypatch.setattr(runner, "Session", lambda *a, **k: sessions.append(real(*a, **k)) or sessions[-1])
    dialogues = read_dialogues(scenes)[:1]
    run(embedded, dialogues, tmp_path, methods=["sample"], settings=EvalSettings(scope=scope))
    context = sessions[0].context
    assert int(context.position_ids.max()) == context.length - 1 + 144 - 14
    noted = json.loads((tmp_path / "evaluation.json").read_text())
    assert noted["positions"] == "original"
    with pytest.raises(ValueError, match="positions was 'original', is None"):
        run(embedded, dialogues, tmp_path, methods=["sample"])


def test_a_stopped_run_goes_on_without_asking_again(embedded, scenes, tmp_path, monkeypatch):
    dialogues = read_dialogues(scenes)
    _, whole = run(embedded, dialogues, tmp_path / "whole", methods=["sample"])
    held = []
    real = runner.hold

    def stopping(model, processor, contender, batch, settings):
        if len(held) == 2:
            raise KeyboardInterrupt
        held.append([dialogue.id for dialogue in batch])
        return real(model, processor, contender, batch, settings)

    monkeypatch.setattr(runner, "hold", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(embedded, dialogues, tmp_path / "cut", methods=["sample"], settings=EvalSettings(batch=3))
    path = tmp_path / "cut" / "answers-0000.jsonl"
    assert len(path.read_text().splitlines()) == 2
    with path.open("a") as file:
        file.write('[{"method": "sample", "dial')
    again = []
    monkeypatch.setattr(runner, "hold", lambda *a: again.extend(d.id for d in a[3]) or real(*a))
    _, resumed = run(embedded, dialogues, tmp_path / "cut", methods=["sample"], settings=EvalSettings(batch=3))
    assert not set(again) & {name for ids in held for name in ids}
    assert len(again) == len(dialogues) - 6
    assert resumed["rows"][0]["average"] == whole["rows"][0]["average"]
    assert (tmp_path / "cut" / "answers.jsonl").read_text() == (tmp_path / "whole" / "answers.jsonl").read_text()


def test_answers_made_with_other_settings_are_not_mixed(tmp_path):
    AnswerFile(tmp_path, {"history": "own"})
    with pytest.raises(ValueError, match="history was 'own', is 'gold'"):
        AnswerFile(tmp_path, {"history": "gold"})


def test_dialogues_of_unlike_length_are_all_answered(embedded, scenes, tmp_path):
    first, second = read_dialogues(scenes)[:2]
    short = Dialogue("short", second.images, second.turns[:1])
    _, results = run(embedded, [first, short], tmp_path, methods=["full"])
    row = results["rows"][0]
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    right = [correct for line in lines for correct in line["correct"]]
    assert len(right) == 4
    assert row["average"] == pytest.approx(sum(right) / 4)


def test_contenders_are_told_apart_by_settings_and_weights(embedded, tmp_path):
    shape = family_of(embedded[0]).shape
    names = ["full", "random", "random:seed=1", "sample:keep=0.5", "sample"]
    rivals = contenders(names, [0.1, 0.25], shape)
    assert [(r.name, r.keep) for r in rivals] == [
        ("full", 1.0), ("random", 0.1), ("random", 0.25), ("random", 0.1), ("random", 0.25), ("sample", 0.5),
        ("sample", 0.1), ("sample", 0.25),
    ]  # fmt: skip
    assert len({rival.key for rival in rivals}) == len(rivals)
    from pinhole.methods.metacompress import MetaCompress

    method = MetaCompress.create(shape.width, d_c=4)
    keys = []
    for shift in (0.0, 1.0):
        with torch.no_grad():
            method.b.add_(shift)
        method.save_pretrained(tmp_path)
        keys.append(contenders([f"metacompress:{tmp_path}"], [0.1], shape)[0].key)
    assert keys[0] != keys[1]


def test_unmeasured_times_are_null(embedded, scenes, tmp_path):
    _, results = run(embedded, read_dialogues(scenes)[:1], tmp_path, methods=["full"])
    assert results["rows"][0]["ttft_ms"] is None


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="history is own or gold"):
        EvalSettings(history="other")
    with pytest.raises(ValueError, match="at least 1"):
        EvalSettings(batch=0)


def test_a_dialogue_that_changed_is_asked_again(embedded, scenes, tmp_path):
    first, second = read_dialogues(scenes)[:2]
    run(embedded, [first, second], tmp_path, methods=["full"])
    before = (tmp_path / "answers.jsonl").read_text().splitlines()
    shorter = Dialogue(second.id, second.images, second.turns[:2])
    _, results = run(embedded, [first, shorter], tmp_path, methods=["full"])
    after = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert [json.loads(line)["dialogue"] for line in after[len(before) :]] == [second.id]
    assert results["rows"][0]["dialogues"] == 2
