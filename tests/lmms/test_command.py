"""`pinhole eval --tasks`: what the command hands on, and what it refuses."""

from __future__ import annotations

import pytest

from pinhole.lmms import run


@pytest.fixture
def evaluate(pinhole, tmp_path):
    """Run `pinhole eval ...`; returns the exit code and what was printed."""

    def call(*arguments):
        code, out, err = pinhole("eval", "--out", tmp_path, *arguments)
        return code, out + err

    return call


def test_the_options_of_lmms_eval_are_pinholes_own(evaluate, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(run, "run", lambda *given: calls.append(given) or {"rows": []})
    code, out = evaluate(
        "--tasks", "lmms:mmstar", "lmms:mme", "--methods", "full", "sample", "--keep", "0.1", "64", "--model", "a/b",
        "--dtype", "float32", "--positions", "original", "--frames", 8, "--batch", 4, "--limit", 2,
        "--include", tmp_path,
    )  # fmt: skip
    assert (code, "lmms.json" in out) == (0, True)
    [(benchmarks, methods, keeps, options, folder)] = calls
    assert benchmarks == run.Benchmarks(("lmms:mmstar", "lmms:mme"), 4, limit=2, include=tmp_path)
    assert (methods, keeps, folder) == (["full", "sample"], ["0.1", "64"], tmp_path)
    assert {name: value for name, value in options.items() if value is not None} == {
        "pretrained": "a/b", "dtype": "float32", "positions": "original", "video_scope": "whole",
        "separators": "reduce", "frames": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --data with dialogues or --tasks"),
        (["--tasks", "lmms:mmstar", "--data", "d.jsonl"], "give either --data with dialogues or --tasks"),
        (["--tasks", "mmstar"], "--tasks takes lmms-eval's benchmarks"),
        (["--tasks", "lmms:mmstar", "--history", "gold"], "are for dialogues: leave them out with --tasks"),
        (["--tasks", "lmms:mmstar", "--match", "average"], "are for dialogues: leave them out with --tasks"),
        (["--tasks", "lmms:mmstar", "--keep", "2.0"], "--keep 2.0"),
        (["--tasks", "lmms:mmstar", "--positions", "odd"], "positions"),
    ],
)
def test_what_does_not_go_together_is_one_message(evaluate, arguments, message):
    code, out = evaluate("--methods", "full", *arguments)
    assert code == 1
    assert message in " ".join(out.split())
