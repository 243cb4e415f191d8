"""The scripts in runs/ that publish efficiency: on the smallest architecture, and on numbers made by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from pinhole.benchmark.run import Compared, admitted
from pinhole.benchmark.subject import Lengths, subject_of_shape

ROOT = Path(__file__).parents[2]


def script(name: str) -> dict:
    return runpy.run_path(str(ROOT / "runs" / f"{name}.py"))


def test_the_page_is_what_the_results_say():
    assert (ROOT / "docs" / "efficiency.md").read_text() == script("efficiency_page")["page"]()


def test_every_result_gets_its_tables(tmp_path, monkeypatch):
    page = script("efficiency_page")["page"]
    monkeypatch.setitem(page.__globals__, "RESULTS", tmp_path)
    made = {"commit": "0123456789abcdef", "versions": {"torch": "1", "transformers": "2"}}
    made["hardware"] = {"cpu": "C", "cores": 2, "threads": 2, "gpu": None}
    point = {"n": 144, "kept": 14, "ms": 1.5, "peak_bytes": None}
    row = {"method": "sample", "quadratic": False, "points": [point], "ms_slope": None, "peak_slope": 1.0}
    (tmp_path / "scaling_cpu.json").write_text(json.dumps({**made, "width": 1024, "keep": 0.1, "rows": [row]}))
    one = {"method": "full", "operations": [{"operation": "aten::mm", "share": 0.75, "calls": 3}]}
    (tmp_path / "profile_cpu.json").write_text(json.dumps({**made, "model": "tiny", "rows": [one]}))
    text = page()
    assert "| Sample | 144 | 1.5 ms | – | – | 1.0 |" in text
    assert "| `aten::mm` | 75.0 % |" in text
    assert "commit `0123456789` on C, 2 cores" in text


def test_growth_is_the_power_of_n():
    slope = script("scaling")["slope"]
    points = [{"n": n, "ms": 3.0 * n**2, "peak_bytes": None} for n in (10, 20, 40, 80)]
    assert slope(points, "ms") == pytest.approx(2)
    assert slope(points, "peak_bytes") is None
    assert slope(points[:1], "ms") is None


def test_scaling_stops_at_the_limit_goes_on_where_it_was_and_draws(tmp_path, monkeypatch):
    names = script("scaling")
    measure = names["measure"]
    monkeypatch.setitem(measure.__globals__, "COUNTS", (16, 32, 64))
    out = tmp_path / "scaling.json"
    first = measure(["sample", "divprune"], 0.25, 60, out)
    assert [[point["n"] for point in row["points"]] for row in first["rows"]] == [[16, 32, 64]] * 2
    assert [row["quadratic"] for row in first["rows"]] == [False, True]
    assert first["rows"][0]["points"][-1]["kept"] == 16
    second = measure(["sample", "divprune", "fastv"], 0.25, 0, out)
    assert second["rows"][:2] == first["rows"]
    assert [point["n"] for point in second["rows"][2]["points"]] == [16], "one call took longer than the limit"
    names["draw"](second).savefig(tmp_path / "scaling.svg")


def test_a_profile_shares_out_all_of_the_time():
    subject = subject_of_shape("tiny:layers=1", Lengths(turns=1), "float32", "cpu")
    [rival], _ = admitted(subject, Compared(("sample",), (0.1,)))
    found = script("profile_prefill")["operations"](subject, rival)
    assert sum(one["share"] for one in found) == pytest.approx(1)
    assert any("mm" in one["operation"] for one in found)


class TestTrainingCost:
    def test_labels_are_on_every_answer_and_on_nothing_else(self):
        subject = subject_of_shape("tiny:layers=1", Lengths(turns=3, text=10, later=4, answer=3), "float32", "cpu")
        inputs = script("training_cost")["sequences"](subject, 2)
        ids, labels = inputs["input_ids"], inputs["labels"]
        first = 144 + 10
        assert ids.shape == labels.shape == (2, first + 3 * 3 + 2 * 4)
        starts = [first, first + 3 + 4, first + 2 * (3 + 4)]
        answers = {start + i for start in starts for i in range(3)}
        assert {int(column) for column in (labels[0] != -100).nonzero()} == answers
        assert torch.equal(labels[labels != -100], ids[labels != -100])
        assert torch.equal(ids[0, first + 3 : first + 7], subject.later[0]["input_ids"][0])
        assert len(inputs["pixel_values"]) == 2

    def test_a_straight_line_goes_on_to_the_full_depth(self):
        one = {
            "layers": 2, "first_epoch_s": 3.0, "later_epoch_s": 1.5, "peak_bytes": 100, "weights_bytes": 10,
            "cache_bytes_per_sample": 7,
        }  # fmt: skip
        other = {**one, "layers": 4, "first_epoch_s": 5.0, "later_epoch_s": 2.0, "peak_bytes": 160, "weights_bytes": 14}
        end = script("training_cost")["extrapolated"]([one, other], 32, 4)
        assert end["samples_per_s"] == {"first_epoch": 4 / 33, "later_epochs": 4 / 9}
        assert (end["peak_bytes"], end["weights_bytes"], end["cache_bytes"]) == (1000, 70, 140_000)
        assert end["hours"] == pytest.approx(20_000 / 4 * (33 + 9) / 3600)

    def test_steps_of_the_recipe_are_timed_with_and_without_the_cache(self):
        one = script("training_cost")["at_depth"]("tiny", 1, 2, 0.25, True)
        assert one["first_epoch_s"] > 0
        assert one["later_epoch_s"] > 0
        # half precision log-probabilities of three answers of 16 tokens over the vocabulary
        assert one["cache_bytes_per_sample"] == pytest.approx(3 * 16 * 1024 * 2, rel=0.01)
