"""Training: what it optimises, what stops it, and that a stopped run goes on as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from pinhole.data import read_dialogues
from pinhole.families import family_of
from pinhole.methods.metacompress import MetaCompress
from pinhole.registry import MethodSpec
from pinhole.scope import Scope
from pinhole.training import distillation
from pinhole.training.error import TrainingError
from pinhole.training.examples import batch_of
from pinhole.training.loop import train
from pinhole.training.settings import TrainSettings
from pinhole.training.teacher import Teacher

SHORT = TrainSettings(epochs=2, batch=4, checkpoint_every=2, lr=1e-2)
KILLED = """
import sys, time
from pathlib import Path
import pinhole.training.loop as loop
from pinhole.data import read_dialogues
from pinhole.loading import load
from pinhole.registry import MethodSpec
from pinhole.training.settings import TrainSettings

from pinhole.training.distillation import Distillation

class Slow(Distillation):
    def sums(self, *arguments):
        time.sleep(0.5)
        return super().sums(*arguments)

loop.recipe_of = lambda spec: Slow
settings = TrainSettings(epochs=2, batch=4, checkpoint_every=2, lr=1e-2)
spec = MethodSpec.parse("metacompress:keep=0.1,d_c=8")
loop.train(*load("embedded", device="cpu"), spec, read_dialogues(sys.argv[1]), Path(sys.argv[2]), settings,
           show_progress=False)
"""


def run(embedded, scenes, out, settings=SHORT, spec="metacompress:keep=0.1,d_c=8", **options):
    model, processor = embedded
    return train(
        model, processor, MethodSpec.parse(spec), read_dialogues(scenes), out, settings, show_progress=False, **options
    )


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_leaves_the_model_alone(embedded, scenes, tmp_path):
    model, _ = embedded
    before = {name: value.clone() for name, value in model.state_dict().items()}
    method = run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=12, batch=12, lr=1e-2))
    log = log_of(tmp_path / "a")
    assert [record["step"] for record in log] == list(range(1, 13))
    assert log[-1]["loss"] < log[0]["loss"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    loaded = MetaCompress.from_pretrained(tmp_path / "a")
    for name, value in method.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_every_logged_loss_is_the_sum_of_its_terms(embedded, scenes, tmp_path):
    weights = {"entropy_weight": 0.3, "collapse_weight": 0.7}
    run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=6), options=weights)
    for record in log_of(tmp_path / "a"):
        total = record["kl"] + 0.3 * record["entropy"] + 0.7 * record["collapse"]
        assert record["loss"] == pytest.approx(total, rel=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(embedded, scenes, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(embedded, scenes, tmp_path / name, TrainSettings(epochs=1, batch=6, seed=seed))
        weights.append(load_file(tmp_path / name / "model.safetensors")["w_q"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_killed_run_resumes_to_the_same_weights(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path / "whole")
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(scenes), str(out)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.time() + 120
    while not (out / "checkpoints" / "step-00000002").exists() and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (out / "checkpoints" / "step-00000002").exists()
    assert not (out / "model.safetensors").exists()
    run(embedded, scenes, out, resume=True)
    whole, resumed = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert [r["loss"] for r in log_of(tmp_path / "whole")] == [r["loss"] for r in log_of(out)]


def test_a_folder_with_a_run_is_not_overwritten(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12))
    with pytest.raises(ValueError, match="give --resume"):
        run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12))


def test_resuming_with_other_settings_names_them(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12, lr=1e-2))
    with pytest.raises(ValueError, match=r"lr was 0\.01, is 0\.02"):
        run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12, lr=2e-2), resume=True)


def test_resuming_in_another_scope_is_refused(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12))
    with pytest.raises(ValueError, match="with other settings: scope was"):
        run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=1, batch=12, scope=Scope("original")), resume=True)


def test_only_the_newest_checkpoints_stay(embedded, scenes, tmp_path):
    run(embedded, scenes, tmp_path / "a", TrainSettings(epochs=2, batch=4, checkpoint_every=1))
    assert sorted(p.name for p in (tmp_path / "a" / "checkpoints").iterdir()) == ["step-00000005", "step-00000006"]


def test_a_loss_that_is_not_finite_stops_with_step_and_remedy(embedded, scenes, tmp_path, monkeypatch):
    calls = []

    def broken(teacher, student):
        calls.append(1)
        return (student * float("nan") if len(calls) == 3 else student).mean()

    monkeypatch.setattr(distillation, "forward_kl", broken)
    with pytest.raises(TrainingError, match=r"step 3: the loss is not finite .*--lr"):
        run(embedded, scenes, tmp_path / "a")
    assert (tmp_path / "a" / "checkpoints" / "step-00000002").exists()


def test_a_collapsed_p_stops_with_step_and_remedy(embedded, scenes, tmp_path, monkeypatch):
    def collapsed(self, x, m):
        return torch.nn.functional.one_hot(torch.full((m,), 5), len(x)).float() * self.b.mean()

    monkeypatch.setattr(MetaCompress, "forward", collapsed)
    with pytest.raises(TrainingError, match=r"step 1: P has collapsed.*collapse_weight"):
        run(embedded, scenes, tmp_path / "a")


def test_what_cannot_learn_is_refused(embedded, scenes, tmp_path):
    with pytest.raises(ValueError, match="sample has nothing to learn"):
        run(embedded, scenes, tmp_path / "a", spec="sample")
    assert not (tmp_path / "a").exists()


def test_the_teacher_says_what_the_plain_model_says_and_its_cache_repeats_it(embedded, scenes, tmp_path):
    model, processor = embedded
    family = family_of(model)
    dialogues = read_dialogues(scenes)[:3]
    inputs = batch_of(model, processor, dialogues)
    with torch.no_grad():
        images, _ = family.encode(inputs)
        labels = inputs["labels"]
        outputs = model(**{k: v for k, v in inputs.items() if k != "labels"}, output_hidden_states=True)
    plain, states = (each[:, :-1][labels[:, 1:] != -100] for each in (outputs.logits, outputs.hidden_states[-1]))
    log_probs, hidden = Teacher(family, None, "x")([0, 1, 2], inputs, images)
    assert torch.allclose(log_probs, plain.log_softmax(-1), atol=1e-5)
    assert torch.allclose(hidden, states, atol=1e-5)
    teacher = Teacher(family, tmp_path, "x")
    said = teacher([0, 1, 2], inputs, images)
    assert torch.allclose(said[0].exp(), plain.softmax(-1), atol=1e-3)
    assert torch.allclose(said[1], states, atol=1e-2)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    repeated = teacher([0, 1, 2], inputs, [])
    assert all(map(torch.equal, repeated, said))
    part = batch_of(model, processor, dialogues[1:2])
    counts = (labels[:, 1:] != -100).sum(-1).tolist()
    second = slice(counts[0], counts[0] + counts[1])
    assert all(map(torch.equal, teacher([1], part, []), (each[second] for each in repeated)))
    with pytest.raises(ValueError, match="on other data"):
        Teacher(family, tmp_path, "y")


def test_resuming_on_other_data_is_refused(embedded, scenes, tmp_path):
    model, processor = embedded
    dialogues, spec = read_dialogues(scenes), MethodSpec.parse("metacompress:keep=0.1,d_c=8")
    settings = TrainSettings(epochs=1, batch=12)
    train(model, processor, spec, dialogues, tmp_path / "a", settings, show_progress=False)
    with pytest.raises(ValueError, match="with other settings: data was"):
        train(model, processor, spec, dialogues[1:], tmp_path / "a", settings, resume=True, show_progress=False)


def test_nothing_is_learned_where_everything_is_kept(embedded, scenes, tmp_path):
    with pytest.raises(ValueError, match="nothing to learn at this keep"):
        run(embedded, scenes, tmp_path / "a", spec="metacompress:keep=1.0,d_c=8")


@pytest.mark.parametrize("positions", [None, "original"])
def test_the_losses_are_those_of_the_compressed_model(embedded, scenes, tmp_path, positions):
    """The logged KL of the first step equals one computed from `compress` and the plain model."""
    from pinhole.compression import compress
    from pinhole.training.examples import order

    model, processor = embedded
    settings = TrainSettings(epochs=1, batch=3, scope=Scope(positions))
    run(embedded, scenes, tmp_path / "a", settings)
    dialogues = read_dialogues(scenes)
    first = next(iter(order(len(dialogues), 3, 0, 0)))
    inputs = batch_of(model, processor, [dialogues[i] for i in first])
    labels = inputs.pop("labels")
    method = MethodSpec.parse("metacompress:keep=0.1,d_c=8").build(family_of(model).width)
    with torch.no_grad():
        plain = model(**inputs).logits.log_softmax(-1)
        with compress(model, method, positions=positions):
            small = model(**inputs).logits.log_softmax(-1)
    cut = plain.shape[1] - small.shape[1]
    total = []
    for row, column in (labels != -100).nonzero().tolist():
        p, q = plain[row, column - 1], small[row, column - 1 - cut]
        total.append((p.exp() * (p - q)).sum().item())
    assert log_of(tmp_path / "a")[0]["kl"] == pytest.approx(sum(total) / len(total), rel=1e-4)


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    settings = TrainSettings(lr=1.0)
    rates = [settings.lr_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert rates[-1] < 0.001


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"lr": 0.0}, {"clip": -1.0}, {"micro_batch": 0}, {"precision": "fp8"}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainSettings(**bad)
