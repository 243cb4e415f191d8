"""Several processes and micro-batches give the weights that one process and one batch give."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from launched import BOTH, IDS, two_processes
from pinhole.data import read_dialogues
from pinhole.evaluation.contender import parse_specs
from pinhole.training.loop import train
from pinhole.training.settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, batch=5, lr=1e-3)
"""Batches of 5, 5 and 2 of twelve dialogues: no two processes have as many."""
SPECS = ("metacompress:keep=0.1,d_c=8", "visionselector:keep=0.1", "sample:keep=0.5+adsc:schedule={1:0.1,2:0.05}")
COMMAND = "--epochs 2 --batch 5 --lr 1e-3 --clip 1e-2 --quiet --device cpu"


def losses(out):
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def assert_same(one, other):
    assert losses(one) == pytest.approx(losses(other), rel=1e-4)
    [weights] = one.glob("*.safetensors")
    for name, value in load_file(weights).items():
        assert torch.allclose(value, load_file(other / weights.name)[name], rtol=1e-3, atol=2e-5), name


@pytest.mark.parametrize("spec", SPECS)
def test_micro_batches_change_nothing(embedded, scenes, tmp_path, spec):
    for name, size in (("whole", None), ("twos", 2)):
        settings = replace(SETTINGS, micro_batch=size)
        train(*embedded, parse_specs(spec), read_dialogues(scenes), tmp_path / name, settings, show_progress=False)
    assert_same(tmp_path / "whole", tmp_path / "twos")


@pytest.mark.parametrize("spec", SPECS)
def test_gradient_checkpointing_changes_nothing(embedded, scenes, tmp_path, spec):
    model, _ = embedded
    calls = []
    handle = model.model.language_model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    counts = []
    for name, light in (("plain", False), ("light", True)):
        settings = replace(SETTINGS, gradient_checkpointing=light)
        train(*embedded, parse_specs(spec), read_dialogues(scenes), tmp_path / name, settings, show_progress=False)
        counts.append(len(calls) - sum(counts))
    handle.remove()
    assert counts[1] == counts[0] + 6, "each of six student passes computes its layers twice"
    assert_same(tmp_path / "plain", tmp_path / "light")
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(("launcher", "more"), BOTH, ids=IDS)
@pytest.mark.parametrize("spec", SPECS)
def test_two_processes_give_the_weights_of_one(embedded, scenes, tmp_path, spec, launcher, more):
    train(*embedded, parse_specs(spec), read_dialogues(scenes), tmp_path / "one", SETTINGS, show_progress=False)
    command = ["train", "--data", str(scenes), "--method", spec, "--out", str(tmp_path / "two")]
    two_processes(launcher, [*command, *COMMAND.split(), *more])
    assert_same(tmp_path / "one", tmp_path / "two")


def test_one_process_has_nothing_to_shard(embedded, scenes, tmp_path):
    with pytest.raises(ValueError, match="start several with torchrun or accelerate launch"):
        train(*embedded, parse_specs(SPECS[0]), read_dialogues(scenes), tmp_path, SETTINGS, shard=True)
