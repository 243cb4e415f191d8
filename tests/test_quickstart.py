"""The main job, shrunk: everything it promises is there, and a second run goes on instead of starting anew."""

import json

import pytest

from pinhole import quickstart
from pinhole.data import read_dialogues
from pinhole.training.settings import TrainSettings


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(quickstart, "TRAINED_ON", 6)
    monkeypatch.setattr(quickstart, "HELD_OUT", 6)
    monkeypatch.setattr(quickstart, "PICTURES", 2)
    monkeypatch.setattr(quickstart, "SETTINGS", TrainSettings(epochs=1, batch=3))


def test_writes_results_weights_and_report_and_repeats_nothing(small, tmp_path):
    results = quickstart.run(tmp_path, show_progress=False)
    assert [row["method"] for row in results["rows"]] == ["full", "random", "sample", "spatial", "metacompress"]
    assert [row["kept_tokens"] for row in results["rows"]] == [144, 14, 14, 12, 14]
    assert json.loads((tmp_path / "results.json").read_text()) == results
    ours = results["rows"][-1]["average"]
    for row in results["rows"][:-1]:
        lead = results["metacompress_leads"][row["method"]]
        assert lead["points"] == pytest.approx(ours - row["average"])
        assert lead["ci95"][0] <= lead["points"] <= lead["ci95"][1]
    assert (tmp_path / "metacompress" / "model.safetensors").exists()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h3") >= 2
    assert "MetaCompress" in page
    answers = (tmp_path / "answers.jsonl").read_text()
    log = (tmp_path / "metacompress" / "log.jsonl").read_text()
    again = quickstart.run(tmp_path, show_progress=False)
    assert (tmp_path / "answers.jsonl").read_text() == answers
    assert (tmp_path / "metacompress" / "log.jsonl").read_text() == log
    for before, after in zip(results["rows"], again["rows"], strict=True):
        assert before["average"] == after["average"]


def test_training_and_test_scenes_are_not_the_same(small, tmp_path):
    quickstart.run(tmp_path, show_progress=False)
    train, test = (
        {dialogue.id for dialogue in read_dialogues(tmp_path / "data" / split)} for split in ("train", "test")
    )
    assert not train & test
