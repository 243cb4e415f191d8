"""`pinhole serve`: what a user types, and what vLLM gets."""

from __future__ import annotations

import json
import os
import sys

import pytest

import zoo
from pinhole.serving.settings import Settings


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a model's configuration alone."""
    zoo.model_of("llava").config.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def started(monkeypatch):
    """What would have become of this process."""
    found = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: found.append([program, *arguments]))
    return found


def test_flags_that_it_does_not_know_reach_vllm_in_their_order(pinhole, checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.vllm_version", lambda: "0.32.0")
    flags = ["--port", "8001", "-tp", "2", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 2}']
    given = ["--model", checkpoint, "--method", "spatial", *flags[:3], "--keep", "0.25", *flags[3:]]
    assert pinhole("serve", *given) == (0, "", "")
    overrides = json.dumps(Settings("spatial", 0.25).overrides("llava"))
    module = [sys.executable, sys.executable, "-m", "vllm.entrypoints.cli.main"]
    assert started == [[*module, "serve", checkpoint, "--hf-overrides", overrides, *flags]]


def test_a_version_that_was_not_tested_gets_one_warning_and_starts(pinhole, checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.vllm_version", lambda: "0.40.1")
    _, _, err = pinhole("serve", "--model", checkpoint, "--method", "sample")
    assert err.count("\n") == 1
    assert "tested with vLLM 0.32; this is 0.40.1" in err
    assert len(started) == 1


def test_without_vllm_the_command_is_printed_but_not_run(pinhole, checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.find_spec", lambda name: None)
    given = ["serve", "--model", checkpoint, "--method", "sample"]
    _, shown, _ = pinhole(*given, "--keep", "4", "--print", "--port", "1")
    assert shown.startswith(f"vllm serve {checkpoint} --hf-overrides '{{")
    assert shown.endswith("}' --port 1\n")
    code, _, err = pinhole(*given)
    assert (code, "serving needs vLLM in the same environment" in err) == (1, True)
    assert not started


def test_what_cannot_be_served_is_refused_before_vllm_is_looked_for(pinhole, checkpoint, started):
    code, _, err = pinhole("serve", "--model", checkpoint, "--method", "fastv")
    assert (code, "drops tokens between the LLM's layers" in err) == (1, True)
    assert not started
