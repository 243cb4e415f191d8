"""Pinhole as a model of the installed lmms-eval: the answers are those of Pinhole's own chat."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from lmms_eval.models import get_model

import checkpoints
from pinhole.chat import Chat
from pinhole.lmms.model import Pinhole
from pinhole.loading import load
from pinhole.methods.fastv import FastV
from pinhole.methods.sample import Sample
from pinhole.videos import load_video


def model_args(**given):
    return ",".join(f"{name}={value}" for name, value in {"pretrained": "embedded", "device": "cpu", **given}.items())


def alone(embedded, documents, method, **scope):
    """What a chat answers, one question at a time."""
    said = []
    for document in documents:
        chat = Chat(*embedded, method, max_new_tokens=5, **scope)
        said.append(chat.ask(document["question"], [document["image"]]))
    return said


def evaluate(run, tasks, out, task="scenes", processes=1, **given):
    return run(
        "lmms_eval", "--model", "pinhole", "--model_args", model_args(**given), "--tasks", task, "--include_path",
        tasks, "--batch_size", 4, "--output_path", out, "--log_samples", processes=processes,
    )  # fmt: skip


def test_lmms_eval_finds_the_model():
    assert get_model("pinhole") is Pinhole


@pytest.mark.parametrize("processes", [1, 2])
def test_its_answers_are_those_of_a_chat(embedded, documents, tasks, run, answers, tmp_path, processes):
    evaluate(run, tasks, tmp_path / "out", method="sample", keep=0.25, positions="original", processes=processes)
    said = answers(tmp_path / "out")
    assert said == alone(embedded, documents, Sample(keep=0.25), positions="original")
    [results] = (tmp_path / "out").rglob("*_results.json")
    right = [word == document["answer"] for word, document in zip(said, documents, strict=True)]
    found = json.loads(results.read_text())["results"]["scenes"]["right,none"]
    assert found == pytest.approx(sum(right) / len(right))


def test_rounds_are_prompts_of_their_own(embedded, documents, tasks, run, answers, tmp_path):
    evaluate(run, tasks, tmp_path / "out", "scenes_rounds", method="'fastv:layer=1,keep=0.5'")
    again = [{**document, "question": f"again: {document['question']}"} for document in documents]
    method = FastV(layer=1, keep=0.5)
    expected = zip(alone(embedded, documents, method), alone(embedded, again, method), strict=True)
    assert answers(tmp_path / "out") == [list(pair) for pair in expected]


def test_a_video_is_read_as_so_many_frames_and_reduced(films, tasks, run, answers, tmp_path):
    folder = checkpoints.write("qwen3_vl", tmp_path / "qwen3_vl")
    given = {"pretrained": folder, "method": "sample", "keep": 0.25, "frames": 4}
    evaluate(run, tasks, tmp_path / "out", "films", **given)
    expected = []
    for film in films:
        chat = Chat(*load(str(folder), device="cpu"), Sample(keep=0.25), max_new_tokens=5)
        expected.append(chat.ask(film["question"], videos=[load_video(film["video"], 4)]))
        assert all(reduction.m < reduction.n for reduction in chat.reductions)
    assert answers(tmp_path / "out") == expected


def test_pinhole_eval_runs_its_benchmarks(embedded, documents, tasks, run, answers, tmp_path):
    printed = run(
        "pinhole", "eval", "--tasks", "lmms:scenes", "--include", tasks, "--methods", "full", "sample", "--keep", 0.25,
        "--device", "cpu", "--limit", 3, "--out", tmp_path / "out",
    )  # fmt: skip
    assert "lmms.json" in printed
    rows = json.loads((tmp_path / "out" / "lmms.json").read_text())["rows"]
    assert [(row["method"], row["keep"]) for row in rows] == [("full", None), ("sample", "0.25")]
    said = answers(tmp_path / "out" / "full")
    assert said == alone(embedded, documents[:3], None)
    right = [word == document["answer"] for word, document in zip(said, documents, strict=False)]
    assert rows[0]["tasks"]["scenes"]["right,none"] == pytest.approx(sum(right) / 3)
    assert answers(tmp_path / "out" / "sample_keep=0.25") == alone(embedded, documents[:3], Sample(keep=0.25))


def test_likelihoods_are_refused_with_a_reason():
    model = Pinhole.create_from_arg_string(model_args(), {"batch_size": "2"})
    with pytest.raises(NotImplementedError, match="take their variant with output_type generate_until"):
        model.loglikelihood([SimpleNamespace(args=())])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("method=samples", "no method 'samples'"),
        ("keep=2.0", "keep"),
        ("positions=odd", "positions"),
        ("batch_size=auto", "batch_size is a number of prompts, got 'auto'"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_before_anything_is_loaded(given, message, monkeypatch):
    monkeypatch.setattr("pinhole.options.Checkpoint.load", None)
    with pytest.raises(ValueError, match=message):
        Pinhole.create_from_arg_string(given)


def test_an_argument_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'kept'"):
        Pinhole.create_from_arg_string("kept=0.1")
