"""A benchmark: turns are taken, a stopped run goes on, what cannot be measured is said, results have their fields."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import zoo
from pinhole.benchmark import run
from pinhole.benchmark.run import Compared, admitted, bench, in_turn
from pinhole.benchmark.subject import Lengths, Subject, subject_of_shape
from pinhole.evaluation.contender import contenders
from pinhole.families import family_of

LENGTHS = Lengths(turns=2, text=8, later=2, answer=2)
TIMES = {"encoder", "method", "ttft", "token", "turn", "dialogue", "dialogue_without_reuse", "later_ttft"}


@pytest.fixture(scope="module")
def subject():
    return subject_of_shape("tiny:layers=2", LENGTHS, "float32", "cpu")


def measure(subject, out, methods=("full", "sample"), keeps=(0.1,), repeats=2, **changed):
    options = {"name": "tiny:layers=2", "lengths": LENGTHS, **changed}
    compared = Compared(tuple(methods), tuple(keeps))
    return bench(subject, compared=compared, out=out, repeats=repeats, show_progress=False, **options)


@pytest.fixture(scope="module")
def finished(subject, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return out, measure(subject, out, ["full", "sample", "metacompress", "fastv:layer=1", "vtw"], repeats=2)


def test_contenders_take_turns_and_each_repetition_starts_with_the_next():
    rivals = contenders(["full", "sample", "random"], [0.1], family_of(zoo.model_of("llava")).shape)
    order = [(repeat, rival.name) for repeat, rival in in_turn(rivals, 4)]
    assert [name for _, name in order] == [
        "full", "sample", "random",
        "sample", "random", "full",
        "random", "full", "sample",
        "full", "sample", "random",
    ]  # fmt: skip
    assert [repeat for repeat, _ in order] == sorted(repeat for repeat, _ in order)


def test_measurements_are_taken_in_turn(finished):
    out, _ = finished
    lines = [json.loads(line) for line in (out / "measurements.jsonl").read_text().splitlines()]
    times = [(line["repeat"], line["contender"]) for line in lines if line["kind"] == "time"]
    assert Counter(repeat for repeat, _ in times) == {0: 6, 1: 6}
    assert [key for _, key in times[6:]] == [key for _, key in [*times[1:6], times[0]]]


def test_results_have_the_documented_fields(finished, subject):
    out, results = finished
    assert results == json.loads((out / "results.json").read_text())
    assert results.keys() == {
        "model", "weights", "parameters", "dtype", "device", "attention", "dialogue", "commit", "versions", "hardware",
        "refused", "rows", "no_peak",
    }  # fmt: skip
    assert (results["model"], results["dtype"], results["device"]) == ("tiny:layers=2", "float32", "cpu")
    assert results["dialogue"] == {"turns": 2, "text": 8, "later": 2, "answer": 2}
    assert results["parameters"] == sum(parameter.numel() for parameter in subject.model.parameters())
    assert [row["method"] for row in results["rows"]] == [
        "full", "sample", "metacompress", "fastv", "vtw", "limit",
    ]  # fmt: skip
    for row in results["rows"]:
        assert row["ms"].keys() == TIMES
        for value in row["ms"].values():
            assert 0 <= value["q1"] <= value["median"] <= value["q3"]
        assert row["ms"]["turn"]["median"] > row["ms"]["ttft"]["median"] > 0
        assert row["flops"].keys() == {"encoder", "method", "llm", "total"}
        assert row["to_full"]["ms"].keys() == TIMES
        assert row["speedup"]["share"] == pytest.approx(
            row["speedup"]["measured"]["median"] / row["speedup"]["allowed"]
        )
    full, sample, _, inside, no_keep, limit = results["rows"]
    assert full["speedup"]["allowed"] == full["speedup"]["measured"]["median"] == 1
    assert sample["speedup"]["allowed"] == full["flops"]["total"] / sample["flops"]["total"]
    assert (full["to_sample"], full["share_of_limit"]) == (None, None)
    assert sample["to_sample"]["ms"]["ttft"] == limit["share_of_limit"] == 1
    assert inside["to_sample"]["kv_bytes"] == inside["kv_bytes"] / sample["kv_bytes"]
    assert no_keep["to_sample"] is None, "it takes no keep"
    json.dumps(limit["settings"])


def test_where_there_is_no_peak_the_results_say_why(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "peak_bytes", lambda *_: None)
    results = measure(subject, tmp_path, repeats=1)
    assert {row["peak_bytes"] for row in results["rows"]} == {None}
    assert "clear_refs" in results["no_peak"]


def test_a_finished_benchmark_is_not_taken_again(finished, subject, monkeypatch):
    out, results = finished
    monkeypatch.setattr(run, "times_of", pytest.fail)
    monkeypatch.setattr(run, "cost_of", pytest.fail)
    again = measure(subject, out, ["full", "sample", "metacompress", "fastv:layer=1", "vtw"])
    assert again == results


def test_a_stopped_benchmark_goes_on(subject, tmp_path, monkeypatch):
    taken, real = [], run.times_of

    def stopping(subject, contender):
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(contender.name)
        return real(subject, contender)

    monkeypatch.setattr(run, "times_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure(subject, tmp_path)
    path = tmp_path / "measurements.jsonl"
    before = path.read_text()
    assert sum('"time"' in line for line in before.splitlines()) == 2
    with path.open("a") as file:
        file.write('{"kind": "time", "conten')
    taken.clear()
    warmed, dialogue = [], run.one_dialogue
    monkeypatch.setattr(run, "times_of", lambda *given: taken.append(given[1].name) or real(*given))
    monkeypatch.setattr(run, "one_dialogue", lambda *given: warmed.append(given[1].name) or dialogue(*given))
    results = measure(subject, tmp_path)
    assert path.read_text().startswith(before)
    assert len(taken) == 4, "so many measurements were left"
    assert len(warmed) == 3, "all warm up again"
    memory = [json.loads(line) for line in path.read_text().splitlines() if '"memory"' in line]
    assert [line["repeat"] for line in memory] == [0, 1] * 3 + [2] * 3, "and their memory is measured again"
    assert [len(results["rows"]), results["refused"]] == [3, []]


def test_measurements_of_another_benchmark_are_not_mixed(subject, finished):
    out, _ = finished
    with pytest.raises(ValueError, match=r"another benchmark \(model was 'tiny:layers=2', is 'other'\)"):
        measure(subject, out, name="other")


def test_what_cannot_be_measured_is_listed_with_the_reason(subject, tmp_path):
    results = measure(subject, tmp_path, ["full", "dart:layer=2", "sample:keep=900"], repeats=1)
    assert [row["method"] for row in results["rows"]] == ["full", "limit"]
    reasons = {one["method"]: one["reason"] for one in results["refused"]}
    assert reasons["dart"].startswith("dart drops tokens in front of layers 2, this LLM has layers 0 to 1")
    assert reasons["sample"].startswith("cannot keep 900 of 144 visual tokens")


def test_a_model_that_lacks_a_cue_refuses_the_method_and_no_other(tmp_path):
    model = zoo.model_of("qwen2_vl")
    subject = Subject(model, zoo.row("qwen2_vl", model), (zoo.words(3, 0),), 2)
    results = measure(subject, tmp_path, ["visionzip", "sample"], keeps=(0.25,), repeats=1, name="qwen2_vl")
    assert [row["method"] for row in results["rows"]] == ["sample", "limit"]
    assert "visionzip needs cls_attention" in results["refused"][0]["reason"]
    assert results["rows"][0]["speedup"] is None, "without the uncompressed model there is nothing to compare with"


def test_a_budget_that_cannot_be_met_refuses_the_method(subject):
    compared = Compared(("fastv:layer=1", "sample"), (0.1,), "average")
    rivals, refused = admitted(subject, compared)
    assert [rival.name for rival in rivals] == ["sample"]
    assert "needs cuts in earlier layers" in refused[0]["reason"]


def test_what_there_is_not_stops_everything(subject, tmp_path):
    with pytest.raises(ValueError, match="no method 'sampel'; did you mean 'sample'"):
        measure(subject, tmp_path / "out", ["full", "sampel"])
    with pytest.raises(ValueError, match="repeats is at least 1"):
        measure(subject, tmp_path / "out", repeats=0)
    assert not (tmp_path / "out").exists()
