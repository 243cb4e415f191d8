"""`pinhole serve`: what a user types, and what vLLM gets."""

from __future__ import annotations

import json
import os
import sys

import pytest
import typer
from typer.testing import CliRunner

import zoo
from pinhole.commands.serve import PASS_ON, serve
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


def run(*arguments):
    app = typer.Typer()
    app.command(context_settings=PASS_ON)(serve)
    return CliRunner().invoke(app, arguments)


def test_flags_that_it_does_not_know_reach_vllm_in_their_order(checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.vllm_version", lambda: "0.32.0")
    flags = ["--port", "8001", "-tp", "2", "--enforce-eager", "--limit-mm-per-prompt", '{"image": 2}']
    result = run("--model", checkpoint, "--method", "spatial", *flags[:3], "--keep", "0.25", *flags[3:])
    assert (result.exit_code, result.stderr) == (0, "")
    overrides = json.dumps(Settings("spatial", 0.25).overrides("llava"))
    module = [sys.executable, sys.executable, "-m", "vllm.entrypoints.cli.main"]
    assert started == [[*module, "serve", checkpoint, "--hf-overrides", overrides, *flags]]


def test_a_version_that_was_not_tested_gets_one_warning_and_starts(checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.vllm_version", lambda: "0.40.1")
    result = run("--model", checkpoint, "--method", "sample")
    assert result.stderr.count("\n") == 1
    assert "tested with vLLM 0.32; this is 0.40.1" in result.stderr
    assert len(started) == 1


def test_without_vllm_the_command_is_printed_but_not_run(checkpoint, started, monkeypatch):
    monkeypatch.setattr("pinhole.serving.command.find_spec", lambda name: None)
    shown = run("--model", checkpoint, "--method", "sample", "--keep", "4", "--print", "--port", "1")
    assert shown.stdout.startswith(f"vllm serve {checkpoint} --hf-overrides '{{")
    assert shown.stdout.endswith("}' --port 1\n")
    refused = run("--model", checkpoint, "--method", "sample")
    assert isinstance(refused.exception, ImportError)
    assert not started


def test_what_cannot_be_served_is_refused_before_vllm_is_looked_for(checkpoint, started):
    refused = run("--model", checkpoint, "--method", "fastv")
    assert "drops tokens between the LLM's layers" in str(refused.exception)
    assert not started
