"""`pinhole eval --tasks`: what lmms-eval is told, and what is gathered from what it writes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pinhole.lmms import run
from pinhole.lmms.run import Benchmarks


@pytest.fixture
def lmms_eval(monkeypatch):
    """Stands in for the program: writes results where it is told to, and notes its arguments."""
    calls = []

    def called(command, check, stdout):
        assert stdout == sys.__stderr__.fileno(), "standard output is for Pinhole's result"
        told = dict(zip(command[3::2], command[4::2], strict=False))
        calls.append(told)
        if "prumerge" in told["--model_args"]:
            return subprocess.CompletedProcess(command, 1)
        folder = Path(told["--output_path"]) / "model"
        folder.mkdir(parents=True)
        for day, accuracy in (("20250102", 0.25 * len(calls)), ("20250101", 0.0)):
            measures = {"alias": "mmstar", "average,none": accuracy, "stderr": "N/A"}
            (folder / f"{day}_results.json").write_text(json.dumps({"results": {"mmstar": measures}}))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(run.subprocess, "run", called)
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: object())
    return calls


def test_the_command_of_lmms_eval(tmp_path):
    benchmarks = Benchmarks(("lmms:mmstar", "lmms:mme"), 8, limit=5, include=tmp_path / "tasks")
    options = {"pretrained": "embedded", "method": "fastv:layer=2,keep=0.5", "keep": 0.1, "device": None}
    assert benchmarks.command(options, tmp_path) == [
        sys.executable, "-m", "lmms_eval", "--model", "pinhole",
        "--model_args", "pretrained=embedded,method='fastv:layer=2,keep=0.5',keep=0.1",
        "--tasks", "mmstar,mme", "--batch_size", "8", "--output_path", str(tmp_path), "--log_samples",
        "--limit", "5", "--include_path", str(tmp_path / "tasks"),
    ]  # fmt: skip


def test_every_method_runs_at_every_keep_that_it_takes(lmms_eval, tmp_path):
    found = run.run(Benchmarks(("lmms:mmstar",), 2), ["full", "sample"], ["0.1", "64"], {"dtype": "auto"}, tmp_path)
    assert [call["--model_args"] for call in lmms_eval] == [
        "method=full,dtype=auto", "method=sample,keep=0.1,dtype=auto", "method=sample,keep=64,dtype=auto",
    ]  # fmt: skip
    assert len({call["--output_path"] for call in lmms_eval}) == 3
    assert json.loads((tmp_path / "lmms.json").read_text()) == found
    assert found["rows"] == [
        {"method": "full", "keep": None, "tasks": {"mmstar": {"average,none": 0.25}}},
        {"method": "sample", "keep": "0.1", "tasks": {"mmstar": {"average,none": 0.5}}},
        {"method": "sample", "keep": "64", "tasks": {"mmstar": {"average,none": 0.75}}},
    ]


def test_a_run_that_fails_is_named(lmms_eval, tmp_path):
    with pytest.raises(ValueError, match=r"lmms-eval failed with method prumerge, keep 0.1"):
        run.run(Benchmarks(("lmms:mmstar",), 2), ["prumerge"], ["0.1"], {}, tmp_path)


@pytest.mark.parametrize("task", ["mmstar", "lmms:"])
def test_a_task_that_is_not_lmms_evals_is_refused(task):
    with pytest.raises(ValueError, match="--tasks takes lmms-eval's benchmarks, such as lmms:mmstar"):
        Benchmarks((task,), 1)


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is not None, reason="lmms-eval is installed")
def test_without_lmms_eval_it_is_said_what_to_install(tmp_path):
    with pytest.raises(ImportError, match=r"need lmms-eval: pip install 'pinhole-vlm\[lmms\]'"):
        run.run(Benchmarks(("lmms:mmstar",), 1), ["full"], ["0.1"], {}, tmp_path)


def test_several_processes_are_sent_to_lmms_eval_itself(lmms_eval, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="accelerate launch -m lmms_eval --model pinhole"):
        run.run(Benchmarks(("lmms:mmstar",), 1), ["full"], ["0.1"], {}, tmp_path)
