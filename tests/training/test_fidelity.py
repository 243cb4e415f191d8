"""Pinhole's own recipe: hidden states count, entropy does not, and what is learned is what is saved."""

from __future__ import annotations

import json

import pytest
import torch

from pinhole import Pinhole, compress
from pinhole.data import read_dialogues
from pinhole.families import family_of
from pinhole.registry import MethodSpec
from pinhole.training.examples import batch_of
from pinhole.training.loop import train
from pinhole.training.recipes import recipe_of
from pinhole.training.settings import TrainSettings

SHORT = TrainSettings(epochs=8, batch=12, lr=3e-3, clip=1.0)


def run(embedded, scenes, out, settings=SHORT, options=None):
    model, processor = embedded
    spec = MethodSpec.parse("pinhole:keep=0.1")
    return train(model, processor, spec, read_dialogues(scenes), out, settings, options, show_progress=False)


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_it_learns_and_saves_what_it_learned(embedded, scenes, tmp_path):
    method = run(embedded, scenes, tmp_path)
    log = log_of(tmp_path)
    assert log[-1]["loss"] < log[0]["loss"]
    assert method.say.weight.any(), "the correction has left 0"
    loaded = Pinhole.from_pretrained(tmp_path)
    for name, value in method.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_the_loss_is_kl_and_collapse_and_hidden_states(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path)
    for step in log_of(tmp_path):
        assert step["loss"] == pytest.approx(step["kl"] + step["collapse"] + step["hidden"])
        assert step["entropy"] > 0, "known, but of no weight"


def test_the_hidden_term_is_the_distance_of_what_the_output_head_reads(embedded, scenes, tmp_path):
    model, processor = embedded
    settings = TrainSettings(epochs=1, batch=12, lr=1e-2, clip=1.0)
    run(embedded, scenes, tmp_path, settings)
    dialogues = read_dialogues(scenes)
    inputs = batch_of(model, processor, dialogues)
    method = Pinhole.create(family_of(model).width, keep=0.1).eval()

    def states(**more):
        given = {name: value for name, value in inputs.items() if name != "labels"}
        return model(**given, **more, output_hidden_states=True).hidden_states[-1]

    with torch.no_grad():
        wanted = states()[:, :-1][inputs["labels"][:, 1:] != -100]
        with compress(model, method) as compression:
            found = states()
        gone = compression.reductions[0].n - compression.reductions[0].m
        labels = inputs["labels"][:, gone:]  # all that goes is in front of the first answer
        found = found[:, :-1][labels[:, 1:] != -100]
    distance = ((found - wanted).square().sum(-1) / wanted.square().sum(-1)).mean()
    assert log_of(tmp_path)[0]["hidden"] == pytest.approx(float(distance), rel=1e-4)


def test_without_weight_hidden_states_are_no_term(embedded, scenes, tmp_path):
    settings = TrainSettings(epochs=1, batch=12, lr=1e-2)
    run(embedded, scenes, tmp_path, settings, {"hidden_weight": 0})
    assert "hidden" not in log_of(tmp_path)[0]


def test_its_defaults_are_its_own():
    recipe = recipe_of(MethodSpec.parse("pinhole"))
    assert (recipe.defaults.lr, recipe.defaults.clip) == (3e-3, 1.0)
    with pytest.raises(ValueError, match="hidden_weight are not below 0"):
        recipe.options(hidden_weight=-1)
