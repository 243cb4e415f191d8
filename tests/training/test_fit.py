"""Algorithm 2: its gradient, what the descent does, and that the result is what `compress` makes of that P."""

from __future__ import annotations

import contextlib
import copy
import math

import pytest
import torch

import pinhole
import tiny
import zoo
from pinhole.compression import compress
from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.families import family_of
from pinhole.method import TrainingFree
from pinhole.methods.full import Full
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.training import free_p
from pinhole.training.error import TrainingError
from pinhole.training.examples import batch_of
from pinhole.training.fit import descend, fit_reduction
from pinhole.training.free_p import FreeP, Objective
from pinhole.training.objectives import forward_kl, largest_column_sum, row_entropy
from pinhole.training.teacher import answer_outputs

CASES = [(name, modality) for name, animal in zoo.ZOO.items() for modality in animal.modalities]


def labelled(inputs, answers: int = 3):
    """Model inputs whose last tokens are the answer."""
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[:, -answers:] = inputs["input_ids"][:, -answers:]
    return {**inputs, "labels": labels}


def objective_of(seed: int = 0, **weights) -> Objective:
    """A prompt with two images on a tiny model in float64."""
    both = {name: value[1:] for name, value in tiny.inputs(2, seed=seed).items()}
    return Objective(family_of(tiny.llava()), labelled(both), FreeP(keep=5), **weights)


def test_the_gradient_is_that_of_the_loss():
    objective = objective_of(entropy_weight=0.3, collapse_weight=0.2)
    terms, _ = objective()
    raws = list(objective.method.raw.values())
    assert [raw.shape for raw in raws] == [(5, tiny.VISUAL)] * 2
    gradients = torch.autograd.grad(terms["loss"], raws)
    generator = torch.Generator().manual_seed(1)
    for i, gradient in enumerate(gradients):
        ways = [gradient / gradient.norm(), torch.randn(gradient.shape, generator=generator, dtype=torch.float64)]
        for way in ways:
            ends = []
            for distance in (1e-2, -1e-2):
                raws[i].data.add_(way, alpha=distance)
                ends.append(objective()[0]["loss"].item())
                raws[i].data.sub_(way, alpha=distance)
            slope = (gradient * way).sum().item()
            assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(slope, rel=0.02, abs=2e-5)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    terms, reductions = objective_of(entropy_weight=0.3, collapse_weight=0.2)()
    total = terms["kl"] + 0.3 * terms["entropy"] + 0.2 * terms["collapse"]
    assert terms["loss"].item() == pytest.approx(total.item(), rel=1e-6)
    matrices = [reduction.weights for reduction in reductions]
    assert terms["entropy"].item() == pytest.approx(sum(row_entropy(p).item() for p in matrices) / 2)
    assert terms["collapse"].item() == pytest.approx(sum(largest_column_sum(p).item() for p in matrices) / 2)


def test_one_step_is_lr_times_the_gradient():
    objective, again = objective_of(), objective_of()
    terms, _ = objective()
    raws = list(objective.method.raw.values())
    expected = [raw - 7 * grad for raw, grad in zip(raws, torch.autograd.grad(terms["loss"], raws), strict=True)]
    fit = descend(again, steps=1, lr=7.0)
    assert len(fit.losses) == 2
    assert fit.losses[0]["loss"] == terms["loss"].item()
    for wanted, reduction in zip(expected, fit.reductions, strict=True):
        assert torch.allclose(reduction.weights, wanted.softmax(-1), atol=1e-12)
        assert not reduction.weights.requires_grad


def test_p_is_drawn_as_asked():
    raw = FreeP(keep=30, init_std=0.1)
    with torch.no_grad():
        visuals, _ = family_of(tiny.llava()).encode(tiny.inputs())
        p = raw.reduce(visuals[0].tokens).weights
    [drawn] = raw.raw.values()
    assert drawn.std().item() == pytest.approx(0.1, rel=0.1)
    assert abs(drawn.mean().item()) < 0.01
    assert torch.allclose(p.sum(-1), torch.ones(30, dtype=p.dtype))
    assert (p.double().log().std(-1) < 0.2).all()


def test_fitting_makes_the_answers_those_of_the_whole_image(embedded, scenes):
    model, processor = embedded
    dialogue = read_dialogues(scenes)[0]
    fit = fit_reduction(model, processor, dialogue, keep=0.1, steps=60, lr=20.0, entropy_weight=0.0)
    assert fit.kl_end < 0.5 * fit.kl_start
    assert fit.losses[0]["entropy"] == pytest.approx(math.log(144), abs=0.02)


def test_the_entropy_term_makes_every_output_one_token(embedded, scenes):
    model, processor = embedded
    fit = fit_reduction(model, processor, read_dialogues(scenes)[0], keep=8, steps=60, lr=200.0, entropy_weight=20.0)
    assert fit.losses[-1]["entropy"] < 0.05
    assert fit.reductions[0].weights.max(-1).values.min() > 0.9


def test_the_same_seed_gives_the_same_p_and_another_seed_another(embedded, scenes):
    model, processor = embedded
    dialogue = read_dialogues(scenes)[0]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fits = [fit_reduction(model, processor, dialogue, keep=8, steps=3, seed=seed).reductions[0] for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(fits[0].weights, fits[1].weights)
    assert not torch.allclose(fits[0].weights, fits[2].weights)


class Given(TrainingFree):
    """Returns one P, whatever the image."""

    name = "given"

    def __init__(self, p: Reduction) -> None:
        self.__dict__.update(keep=p.m, p=p)

    def reduce(self, image):
        return self.p


@pytest.mark.parametrize("positions", [None, "original"])
def test_the_kl_is_that_of_the_compressed_model(embedded, scenes, positions):
    model, processor = embedded
    dialogue = read_dialogues(scenes)[1]
    fit = fit_reduction(model, processor, dialogue, keep=0.1, steps=5, positions=positions)
    inputs = batch_of(model, processor, [dialogue])
    labels = inputs.pop("labels")[0]
    with torch.no_grad():
        plain = model(**inputs).logits[0].log_softmax(-1)
        with compress(model, Given(fit.reductions[0]), positions=positions):
            small = model(**inputs).logits[0].log_softmax(-1)
    cut = len(plain) - len(small)
    assert cut == 144 - 14
    columns = (labels != -100).nonzero()[:, 0] - 1
    kl = (plain[columns].exp() * (plain[columns] - small[columns - cut])).sum(-1).mean()
    assert fit.kl_end == pytest.approx(kl.item(), rel=1e-4)


def test_encoder_and_teacher_run_once_and_the_model_is_as_before(embedded, scenes):
    model, processor = embedded
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    calls = []
    with contextlib.ExitStack() as stack:
        for module in (model.model.vision_tower, model.model.language_model):
            hook = module.register_forward_hook(lambda module, *_: calls.append(type(module).__name__))
            stack.callback(hook.remove)
        fit_reduction(model, processor, read_dialogues(scenes)[0], keep=8, steps=4)
    assert calls.count("CLIPVisionModel") == 1
    assert calls.count("LlamaModel") == 1 + 4 + 1
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wanted
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_that_learn_do_not_while_p_is_fitted_and_go_on_learning(embedded, scenes, monkeypatch):
    model, processor = copy.deepcopy(embedded[0]), embedded[1]
    learning = [model.lm_head.weight, model.model.multi_modal_projector.linear_1.weight]
    for weight in learning:
        weight.requires_grad_(True)
    seen = []

    def noting(*arguments):
        seen.extend(weight.requires_grad for weight in learning)
        return forward_kl(*arguments)

    monkeypatch.setattr(free_p, "forward_kl", noting)
    fit_reduction(model, processor, read_dialogues(scenes)[0], keep=8, steps=1)
    assert seen
    assert not any(seen)
    assert all(weight.requires_grad and weight.grad is None for weight in learning)


@pytest.mark.parametrize(("name", "modality"), CASES)
def test_every_family_can_be_fitted(name, modality):
    model = zoo.model_of(name)
    inputs = labelled(zoo.row(name, model, modality, count=2))
    method = FreeP(keep=0.25)
    objective = Objective(family_of(model), inputs, method)
    fit = descend(objective, steps=2, lr=10.0)
    assert len(fit.reductions) == 2
    drawn = FreeP(keep=0.25)
    for visual, reduction in zip(family_of(model).encode(inputs)[0], fit.reductions, strict=True):
        n = visual.tokens.n
        assert (reduction.m, reduction.n) == (pinhole.kept_tokens(n, 0.25), n)
        with torch.no_grad():
            assert not torch.allclose(reduction.weights, drawn.reduce(visual.tokens).weights, atol=1e-9)
    given = answer_outputs(family_of(model), inputs, method, family_of(model).encode(inputs)[0])
    expected = answer_outputs(family_of(model), inputs, Full(), given.shrunk.visuals).log_probs
    kl = (expected.exp() * (expected - given.log_probs)).sum(-1).mean()
    assert fit.kl_end == pytest.approx(kl.item(), rel=1e-4, abs=1e-7)


def test_every_frame_of_a_video_has_a_p_of_its_own():
    name = "qwen2_vl"
    model = zoo.model_of(name)
    method = FreeP(keep=0.25)
    inputs = labelled(zoo.row(name, model, "video"))
    fit = descend(Objective(family_of(model), inputs, method, scope=Scope(video="frame")), steps=1)
    [visual], _ = family_of(model).encode(inputs)
    frames = visual.tokens.layout.frames
    assert len(frames.unique()) > 1
    assert len(method.raw) == len(frames.unique())
    [p] = fit.reductions
    for row in p.weights:
        assert len(frames[row.nonzero()[:, 0]].unique()) == 1


def test_separators_are_kept_where_the_scope_says_so():
    name = "llava_next"
    model = zoo.model_of(name)
    inputs = labelled(zoo.row(name, model))
    fit = descend(Objective(family_of(model), inputs, FreeP(0.25), scope=Scope(separators="keep")), steps=1)
    [visual], _ = family_of(model).encode(inputs)
    separators = visual.tokens.layout.separators.nonzero()[:, 0].tolist()
    assert separators
    assert {*separators} <= {*fit.reductions[0].anchors.tolist()}


def test_a_picture_that_is_there_twice_has_one_p(embedded, scenes):
    model, processor = embedded
    first, second = (read_dialogues(scenes)[i].images[0] for i in (0, 1))
    dialogue = Dialogue("twice", (first, second, first), (Turn("What shape is it?", "circle"),))
    a, b, c = fit_reduction(model, processor, dialogue, keep=6, steps=2).reductions
    assert torch.equal(a.weights, c.weights)
    assert not torch.allclose(a.weights, b.weights)


def test_p_is_float32_on_a_model_in_bfloat16():
    model = tiny.llava(dtype=torch.bfloat16)
    fit = descend(Objective(family_of(model), labelled(tiny.inputs(dtype=torch.bfloat16)), FreeP(4)), steps=2)
    assert fit.reductions[0].weights.dtype == torch.float32


def test_nothing_is_fitted_where_everything_is_kept(embedded, scenes):
    with pytest.raises(ValueError, match="nothing to fit at this keep"):
        fit_reduction(*embedded, read_dialogues(scenes)[0], keep=1.0)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"steps": -1}, "steps is not below 0"),
        ({"lr": 0.0}, "lr above 0"),
        ({"init_std": -0.1}, "init_std is not below 0"),
        ({"entropy_weight": -1.0}, "entropy_weight and collapse_weight are not below 0"),
        ({"keep": 1.5}, "keep as a share"),
        ({"positions": "shuffled"}, "positions is compact"),
    ],
)
def test_settings_out_of_range_are_refused(embedded, scenes, bad, told):
    with pytest.raises(ValueError, match=told):
        fit_reduction(*embedded, read_dialogues(scenes)[0], **{"steps": 1, **bad})


def test_a_loss_that_is_not_finite_stops_with_step_and_remedy(embedded, scenes, monkeypatch):
    calls = []

    def broken(teacher, student):
        calls.append(1)
        return (student * float("nan") if len(calls) == 2 else student).mean()

    monkeypatch.setattr(free_p, "forward_kl", broken)
    with pytest.raises(TrainingError, match=r"step 2: the loss is not finite .*lower lr"):
        fit_reduction(*embedded, read_dialogues(scenes)[0], keep=8, steps=3)


def test_it_is_at_the_top_of_the_package():
    assert pinhole.fit_reduction is fit_reduction
    assert "fit_reduction" in pinhole.__all__
