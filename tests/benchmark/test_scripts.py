"""The scripts in runs/ that publish efficiency: on the smallest architecture, and on numbers made by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from pinhole.benchmark.growth import PAPERS, QUADRATIC
from pinhole.benchmark.run import Compared, admitted
from pinhole.benchmark.subject import Lengths, subject_of_shape
from pinhole.budget import Budget
from pinhole.registry import METHODS

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
    row = {"method": "sample", "quadratic": False, "points": [point], "faster": []}
    row |= {"power": {"ms": None, "peak_bytes": 1.04}, "paper": {"ms": 1, "peak_bytes": 1}}
    (tmp_path / "scaling_cpu.json").write_text(json.dumps({**made, "width": 1024, "keep": 0.1, "rows": [row]}))
    operations = [{"operation": name, "share": 0.5 * share, "calls": 3} for name, share in (("mm", 1.5), ("rest", 0.5))]
    one = {"method": "full", "ms": 12.25, "operations": operations}
    profile = {**made, "model": "tiny", "keep": 0.1, "dtype": "float32", "rows": [one]}
    (tmp_path / "profile_cpu.json").write_text(json.dumps(profile))
    extrapolated = {
        "layers": 32, "samples_per_s": {"first_epoch": 10.0, "later_epochs": 20.0}, "flops": 1.08e18, "hours": 0.83,
        "flops_per_sample": {"first_epoch": 5e13, "later_epochs": 4e12}, "cache_bytes": 7e10, "peak_bytes": 9e9,
        "weights_bytes": 1.4e10,
    }  # fmt: skip
    cost = {**made, "shape": "tiny", "samples": 20_000, "epochs": 2, "batch": 4, "keep": 0.1}
    cost |= {"measured": [{"layers": 1}, {"layers": 2}], "extrapolated": extrapolated}
    (tmp_path / "training_cost_cpu.json").write_text(json.dumps(cost))
    text = page()
    assert "**1.08 EFLOP**, 50 TFLOP a sample in the first epoch and 4 TFLOP with" in text
    assert "A device that keeps 200 TFLOP/s is done in 1.5 hours." in text
    assert "0.83 hours" not in text, "a CPU's hours are of no use"
    (tmp_path / "training_cost_gpu.json").write_text(json.dumps(cost))
    assert "At batch 4 that takes **0.83 hours**: 10.00 samples a second in the first epoch, 20.00 later" in page()
    assert "| Sample | 144 | 1.5 ms | – [1] | – | 1.0 [1] |" in text
    assert "none grows faster than its paper says" in text
    assert "| Operation | Full, 12.2 ms |" in text
    assert "under Full `mm` (75.0 %). Keep 0.1, float32" in text
    assert "| `mm` | 75.0 % |" in text
    assert "commit `0123456789` on C, 2 cores" in text
    (tmp_path / "scaling_cpu.json").write_text(
        json.dumps({**made, "width": 1024, "keep": 0.1, "rows": [{**row, "faster": ["ms"]}]})
    )
    assert "**Sample** grow faster than their papers say" in page()


def test_what_remains_of_the_first_token_is_told_by_stage():
    spread = {"ttft": 200.0, "encoder": 50.0, "method": 10.0}
    row = {"method": "sample", "settings": {}, "keep": 0.1, "ms": {name: {"median": v} for name, v in spread.items()}}
    row["flops"] = {"encoder": 5e9, "method": 0, "llm": 7e9}
    whole = {**row, "method": "full", "keep": 1.0, "ms": {**row["ms"], "encoder": {"median": 195.0}}}
    table = script("efficiency_page")["where"]({"rows": [row, whole]})[-1]
    assert "| Sample | 200 ms | 25.0 % | 5.0 % | 70.0 % | 100 GFLOP/s | 50 GFLOP/s |" in table
    assert "| Full | 200 ms | 97.5 % | 5.0 % | 0.0 % | 25.6 GFLOP/s | – |" in table, (
        "two runs may take more than a third"
    )


def test_growth_is_the_power_of_n():
    slope = script("scaling")["slope"]
    points = [{"n": n, "ms": 3.0 * n**2, "peak_bytes": None} for n in (10, 20, 40, 80)]
    assert slope(points, "ms") == pytest.approx(2)
    assert slope(points, "peak_bytes") is None
    assert slope(points[:1], "ms") is None


def test_growth_above_the_papers_is_told_apart():
    grown = script("scaling")["grown"]
    points = [{"n": n, "ms": 1e-3 * n**2, "copy_ms": 150.0, "peak_bytes": 9 * n**1.4} for n in (100, 200, 400)]
    linear, quadratic = grown("sample", points), grown("tome", points)
    assert linear["power"] == quadratic["power"] == {"ms": pytest.approx(2), "peak_bytes": pytest.approx(1.4)}
    assert (linear["faster"], quadratic["faster"]) == (["ms"], [])
    assert (linear["paper"], quadratic["paper"]) == ({"ms": 1, "peak_bytes": 1}, {"ms": 2, "peak_bytes": 2})
    assert grown("sample", [{**point, "copy_ms": 170.0} for point in points])["faster"] == [], "faster than a copy"
    told = script("scaling")["told"]({"method": "sample", "points": points, **linear})
    assert "sample: 160.0 ms at 400 tokens; time n^2.00 (paper 1, FASTER THAN THE PAPER'S); memory n^1.40 (p" in told


def test_one_jump_is_no_growth():
    is_steeper = script("scaling")["is_steeper"]
    points = [{"n": n, "ms": ms} for n, ms in ((50, 9.0), (100, 1.0), (200, 8.0), (400, 16.0))]
    assert not is_steeper(points, "ms", 1)
    assert is_steeper([*points, {"n": 800, "ms": 128.0}], "ms", 0)
    assert not is_steeper(points[-2:], "ms", 0), "of two counts there is one step alone"


def test_a_call_that_would_take_too_long_is_not_made():
    is_beyond = script("scaling")["is_beyond"]
    assert not is_beyond(4.0, {"n": 100, "ms": 1000}, 200, 2)
    assert is_beyond(3.9, {"n": 100, "ms": 1000}, 200, 2)


def test_the_papers_that_growth_knows_are_those_of_methods():
    assert PAPERS.keys() <= METHODS.keys()
    assert QUADRATIC.keys() <= {name for name, power in PAPERS.items() if power.memory == 2}


def test_scaling_ends_with_an_error_where_a_method_grows_faster_and_measures_that_anew(tmp_path, monkeypatch):
    names = script("scaling")
    called = []

    def measured(method, n, _device):
        called.append((method.name, n))
        power = 2 if len(called) <= 3 else 1
        return {"n": n, "kept": 1, "ms": 1e-3 * n**power, "copy_ms": 0.0, "peak_bytes": None}

    arguments = ["scaling.py", "--methods", "sample", "random", "--out", str(tmp_path / "s.json")]
    monkeypatch.setattr("sys.argv", [*arguments, "--picture", str(tmp_path / "s.svg")])
    monkeypatch.setitem(names["main"].__globals__, "COUNTS", (16, 32, 64))
    monkeypatch.setitem(names["main"].__globals__, "measured", measured)
    with pytest.raises(SystemExit, match=r"grow faster than their papers say:\nsample: .* FASTER"):
        names["main"]()
    assert (tmp_path / "s.svg").exists()
    names["main"]()
    assert called == [("sample", n) for n in (16, 32, 64)] + [
        (name, n) for name in ("random", "sample") for n in (16, 32, 64)
    ]


def test_scaling_stops_at_the_limit_goes_on_where_it_was_and_draws(tmp_path, monkeypatch):
    names = script("scaling")
    measure = names["measure"]
    monkeypatch.setitem(measure.__globals__, "COUNTS", (16, 32, 64))
    monkeypatch.setitem(measure.__globals__, "TOLERANCE", 9)  # so few tokens may take any time
    out = tmp_path / "scaling.json"
    first = measure(["sample", "divprune"], 0.25, 60, out)
    assert [[point["n"] for point in row["points"]] for row in first["rows"]] == [[16, 32, 64]] * 2
    assert [row["quadratic"] for row in first["rows"]] == [False, True]
    assert first["rows"][0]["points"][-1]["kept"] == 16
    second = measure(["sample", "divprune", "fastv"], 0.25, 0, out)
    assert second["rows"][:2] == first["rows"]
    assert [point["n"] for point in second["rows"][2]["points"]] == [16], "the next would take longer than the limit"
    names["draw"](second).savefig(tmp_path / "scaling.svg")


def test_a_profile_shares_out_all_of_the_time():
    subject = subject_of_shape("tiny:layers=1", Lengths(turns=1), "float32", "cpu")
    [rival], _ = admitted(subject, Compared(("sample",), (0.1,)))
    found = script("profile_prefill")["profiled"](subject, rival)
    assert found["ms"] > 0
    assert sum(one["share"] for one in found["operations"]) == pytest.approx(1)
    assert any("mm" in one["operation"] for one in found["operations"])


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
            "layers": 2, "first_epoch_s": 3.0, "later_epoch_s": 1.5, "first_epoch_flops": 600, "later_epoch_flops": 80,
            "peak_bytes": 100, "weights_bytes": 10, "cache_bytes_per_sample": 7,
        }  # fmt: skip
        other = {
            **one, "layers": 4, "first_epoch_s": 5.0, "later_epoch_s": 2.0, "first_epoch_flops": 800,
            "later_epoch_flops": 88, "peak_bytes": 160, "weights_bytes": 14,
        }  # fmt: skip
        end = script("training_cost")["extrapolated"]([one, other], 32, 4)
        assert end["samples_per_s"] == {"first_epoch": 4 / 33, "later_epochs": 4 / 9}
        assert (end["peak_bytes"], end["weights_bytes"], end["cache_bytes"]) == (1000, 70, 140_000)
        assert end["hours"] == pytest.approx(20_000 / 4 * (33 + 9) / 3600)
        assert end["flops_per_sample"] == {"first_epoch": 3600 / 4, "later_epochs": 200 / 4}
        assert end["flops"] == 20_000 / 4 * (3600 + 200)

    def test_steps_of_the_recipe_are_timed_with_and_without_the_cache(self):
        one = script("training_cost")["at_depth"]("tiny", 1, 2, 0.25, True, 1)
        assert one["first_epoch_s"] > 0
        assert one["later_epoch_s"] > 0
        # of three answers of 16 tokens log-probabilities over the vocabulary and hidden states, in half precision
        assert one["cache_bytes_per_sample"] == pytest.approx(3 * 16 * (1024 + 128) * 2, rel=0.01)

    def test_what_the_cache_saves_is_the_uncompressed_model(self):
        subject = subject_of_shape("tiny:layers=2", Lengths(), "float32", "cpu")
        tokens = script("training_cost")["sequences"](subject, 1)["input_ids"].shape[1]
        shape = subject.family.shape
        alone = Budget.constant(144, 144, 2).prefill_flops(shape, tokens - 144)
        one = script("training_cost")["at_depth"]("tiny", 2, 1, 0.25, False, 1)
        logits = 2 * (3 * 16 - 1) * 1024 * shape.width  # at every token of three answers, where a prefill has one
        assert one["first_epoch_flops"] - one["later_epoch_flops"] == alone + logits

    def test_layers_computed_twice_cost_a_forward_pass_of_them(self):
        at_depth = script("training_cost")["at_depth"]
        counts = {
            (layers, twice): at_depth("tiny", layers, 1, 0.25, twice, 1)["later_epoch_flops"]
            for layers in (1, 3)
            for twice in (False, True)
        }
        assert counts[3, True] - counts[3, False] == 3 * (counts[1, True] - counts[1, False]) > 0

    def test_the_script_extrapolates_what_it_measures(self, tmp_path, monkeypatch):
        out = tmp_path / "cost.json"
        arguments = ["--shape", "tiny", "--depths", "3", "1", "--batch", "2", "--keep", "0.25", "--out", str(out)]
        monkeypatch.setattr("sys.argv", ["training_cost.py", *arguments])
        script("training_cost")["main"]()
        told = json.loads(out.read_text())
        shallow, deep = told["measured"]
        assert (shallow["layers"], deep["layers"], told["extrapolated"]["layers"]) == (1, 3, 8)
        assert (told["samples"], told["epochs"], told["batch"]) == (20_000, 2, 2)
        first, later, weights = (  # of 8 layers: those of 1 and 3.5 times what the 2 between 1 and 3 add
            shallow[name] + 3.5 * (deep[name] - shallow[name])
            for name in ("first_epoch_s", "later_epoch_s", "weights_bytes")
        )
        end = told["extrapolated"]
        assert end["samples_per_s"]["first_epoch"] == pytest.approx(2 / first)
        assert end["samples_per_s"]["later_epochs"] == pytest.approx(2 / later)
        assert end["hours"] == pytest.approx(10_000 * (first + later) / 3600)
        assert end["flops"] == 10_000 * sum(
            shallow[name] + 3.5 * (deep[name] - shallow[name]) for name in ("first_epoch_flops", "later_epoch_flops")
        )
        assert end["weights_bytes"] == weights
        assert end["cache_bytes"] == 20_000 * shallow["cache_bytes_per_sample"]
