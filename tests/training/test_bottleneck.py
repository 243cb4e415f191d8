"""ADSC's recipe: gradients through cut layers by hand, what a step costs, and a run from dialogues to results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig
from safetensors.torch import load_file

import tiny
import zoo
from pinhole import ADSC, cli, compress
from pinhole.adapters import Adapter
from pinhole.data import read_dialogues
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.families import family_of
from pinhole.registry import MethodSpec
from pinhole.training.bottleneck import Bottleneck, BottleneckOptions, targets_of
from pinhole.training.loop import train
from pinhole.training.memory import light_layers
from pinhole.training.recipe import Part, Step, Task
from pinhole.training.settings import TrainSettings

LAST = Step(5, 5)
SPEC = "adsc:schedule={1:0.5,2:0.25}"
HARSH = "adsc:schedule={1:0.02,2:0.01}"
SHORT = TrainSettings(epochs=2, batch=4, checkpoint_every=2, lr=5e-3, clip=1.0)


def recipe_of(model, spec=SPEC, seed=0, **options) -> Bottleneck:
    """A recipe whose LoRA matrices are not zero."""
    task = Task(model, None, MethodSpec.parse(spec), [], TrainSettings(seed=seed), {"rank": 2, "alpha": 4, **options})
    recipe = Bottleneck(task)
    generator = torch.Generator().manual_seed(seed)
    for parameter in recipe.parameters:
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / 4
    return recipe


def part_of(batch: int = 3, side: str = "right") -> Part:
    """Prompts whose last three tokens are answers."""
    inputs = tiny.inputs(batch=batch, side=side)
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, mask in enumerate(inputs["attention_mask"]):
        last = mask.nonzero()[-3:, 0]
        labels[row, last] = inputs["input_ids"][row, last]
    return Part(([*range(batch)], {**inputs, "labels": labels}), {"answers": int((labels != -100).sum())})


def gradients(recipe, *losses) -> list[torch.Tensor]:
    for parameter in recipe.parameters:
        parameter.grad = None
    torch.stack(losses).sum().backward()
    return [parameter.grad for parameter in recipe.parameters]


def nll_by_hand(model, inputs, shares: dict[int, float], positions: str) -> torch.Tensor:
    """The sum over answer tokens, row by row, layer by layer; tokens are taken out of the hidden states by index."""
    llm, total = model.model.language_model, torch.zeros(())
    features = iter(model.get_image_features(inputs["pixel_values"]).pooler_output)
    for row, mask in enumerate(inputs["attention_mask"].bool()):
        ids, labels = inputs["input_ids"][row, mask], inputs["labels"][row, mask]
        hidden = llm.embed_tokens(ids)
        visual = (ids == tiny.IMAGE).nonzero()[:, 0].tolist()
        images = [visual[i : i + tiny.VISUAL] for i in range(0, len(visual), tiny.VISUAL)]
        for image in images:
            hidden = hidden.index_put((torch.tensor(image),), next(features))
        alive = list(range(len(ids)))
        for number, layer in enumerate(llm.layers):
            if number in shares:
                m, n = round(tiny.VISUAL * shares[number]), len(images[0])
                images = [[image[(2 * i + 1) * n // (2 * m)] for i in range(m)] for image in images]
                seen = [i for i in alive if ids[i] != tiny.IMAGE or any(i in image for image in images)]
                hidden, alive = hidden[[alive.index(i) for i in seen]], seen
            numbers = torch.arange(len(alive)) if positions == "compact" else torch.tensor(alive)
            rotary = llm.rotary_emb(hidden[None], numbers[None])
            hidden = layer(hidden[None], attention_mask=None, position_embeddings=rotary)[0]
        logits = model.lm_head(llm.norm(hidden))
        for place in (labels != -100).nonzero()[:, 0].tolist():
            total = total - logits[alive.index(place - 1)].log_softmax(-1)[labels[place]]
    return total


@pytest.mark.parametrize("positions", ["original", "compact"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_loss_and_gradients_are_those_of_layers_cut_by_hand(side, positions):
    model, part = tiny.llava().requires_grad_(False), part_of(side=side)
    recipe = recipe_of(model, f"{SPEC},positions={positions}")
    loss = recipe.sums(part, LAST)["answers"]
    got = gradients(recipe, loss)
    with recipe._adapter.on():
        by_hand = nll_by_hand(model, part.content[1], {1: 0.5, 2: 0.25}, positions)
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-7)
    for mine, expected in zip(got, gradients(recipe, by_hand), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)
    assert all(gradient.abs().max() > 0 for gradient in got), "every matrix takes part"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_gradients_are_finite_differences():
    model, part = tiny.llava().requires_grad_(False), part_of(batch=2)
    recipe = recipe_of(model)
    got = gradients(recipe, recipe.sums(part, LAST)["answers"])
    for index in (0, 5, -1):
        values = recipe.parameters[index].data.view(-1)
        sums = []
        for change in (1e-3, -2e-3):  # the norms of a Llama are computed in float32
            values[3] += change
            sums.append(recipe.sums(part, LAST)["answers"].item())
        values[3] += 1e-3
        assert got[index].view(-1)[3].item() == pytest.approx((sums[0] - sums[1]) / 2e-3, rel=1e-2)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"targets": "all-linear"}])
def test_gradient_checkpointing_changes_nothing(options):
    """Also where two passes, cut differently, go before one backward pass."""
    model = tiny.llava().requires_grad_(False)
    recipe, steps = recipe_of(model, **options), [Step(3, 5), LAST]
    parts = [part_of(batch=2), part_of(batch=3)]
    found = []
    for wanted in (False, True):
        with light_layers(model, wanted):
            losses = [recipe.sums(part, step)["answers"] for part, step in zip(parts, steps, strict=True)]
            found.append(gradients(recipe, *losses))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_gradient_checkpointing_computes_layers_again_and_leaves_the_model_alone():
    model = tiny.llava().requires_grad_(False)
    recipe, part = recipe_of(model), part_of()
    model(**tiny.inputs())
    before = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    calls = []
    part_of_layer = model.model.language_model.layers[2].mlp
    with light_layers(model, True):
        loss = recipe.sums(part, LAST)["answers"]
        handle = part_of_layer.register_forward_pre_hook(lambda *_: calls.append(1))
        gradients(recipe, loss)
        handle.remove()
    assert calls == [1]
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == before
    assert not model(**tiny.words(4, seed=0)).logits.requires_grad


def test_what_is_dropped_out_depends_on_the_step_alone():
    recipe, part = recipe_of(tiny.llava(), dropout=0.5, length=0), part_of()
    first = recipe.sums(part, LAST)["answers"]
    torch.rand(7)
    state = torch.random.get_rng_state()
    assert torch.equal(recipe.sums(part, LAST)["answers"], first)
    assert torch.equal(torch.random.get_rng_state(), state), "and nobody else's numbers change"
    assert not torch.equal(recipe.sums(part, Step(4, 5))["answers"], first)


def test_shares_go_from_one_to_those_of_the_schedule_exactly():
    method = ADSC(schedule={1: 0.3, 2: 0.1}, positions="compact")
    assert method.towards(0.0, 4) == replace(method, schedule=((1, 1.0), (2, 1.0)))
    assert method.towards(1.0, 4) == method
    half = method.towards(0.5, 4)
    assert [share for _, share in half.schedule] == pytest.approx([0.65, 0.55])
    assert ADSC().towards(1.0, 32).schedule == ((2, 0.5), (7, 0.25))


def test_tokens_leave_as_the_curriculum_says():
    model = tiny.llava()
    recipe, seen = recipe_of(model, length=1.0), []
    handle = model.model.language_model.layers[2].register_forward_hook(lambda _, args, out: seen.append(out.shape[1]))
    for number in range(1, 6):
        recipe.sums(part_of(batch=1), Step(number, 5))
    handle.remove()
    words = tiny.inputs()["input_ids"].shape[1] - tiny.VISUAL
    assert seen == [words + count for count in (36, 29, 23, 16, 9)]


def dialogues_of(folder, count=12):
    return read_dialogues(folder)[:count]


def run(embedded, scenes, out, settings=SHORT, spec=HARSH, options=None, **more):
    model, processor = embedded
    options = {"length": 0.5, "rank": 4, "alpha": 8, **(options or {})}
    return train(
        model,
        processor,
        MethodSpec.parse(spec),
        dialogues_of(scenes),
        out,
        settings,
        options,
        show_progress=False,
        **more,
    )


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(embedded, scenes, tmp_path_factory):
    """A run at the full schedule from the first step on, and what the model was before it."""
    out, model = tmp_path_factory.mktemp("trained") / "run", embedded[0]
    modules = {name: id(module) for name, module in model.named_modules()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = TrainSettings(epochs=6, batch=12, lr=5e-3, clip=1.0)
    method = run(embedded, scenes, out, settings, options={"length": 0})
    return out, method, modules, before


def test_training_lowers_the_loss_and_leaves_the_model_alone(embedded, trained):
    out, _, modules, before = trained
    losses = [record["loss"] for record in log_of(out)]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    model = embedded[0]
    assert {name: id(module) for name, module in model.named_modules()} == modules
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_was_learned_is_loaded_with_one_call_and_lowers_the_loss_as_it_did_in_training(embedded, scenes, trained):
    out, method, *_ = trained
    loaded = ADSC.from_pretrained(out)
    assert loaded == method
    assert loaded.schedule == ((1, 0.02), (2, 0.01))
    weights = load_file(out / "adapter_model.safetensors")
    assert len(weights) == 2 * 4 * 4, "two matrices beside four layers in each of four"
    assert all(value.dtype == torch.float32 for value in weights.values())
    model, processor = embedded
    task = Task(model, processor, MethodSpec.parse(HARSH), dialogues_of(scenes), TrainSettings(), {})
    part = Bottleneck(task).read([*range(12)], LAST)
    inputs, losses = part.content[1], []
    labels = inputs["labels"]
    for one in (replace(loaded, adapter=None), loaded):
        with torch.no_grad(), compress(model, one):
            logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
            losses.append(F.cross_entropy(logits[:, :-1][labels[:, 1:] != -100], labels[:, 1:][labels[:, 1:] != -100]))
    assert losses[0].item() == pytest.approx(log_of(out)[0]["loss"], rel=1e-4), "LoRA starts as nothing"
    assert losses[1] < 0.8 * losses[0]


def test_contenders_with_and_without_it_are_evaluated_beside_the_plain_model(embedded, scenes, trained, tmp_path):
    out, *_ = trained
    model, processor = embedded
    texts, shape = ["full", HARSH, f"adsc:{out}"], family_of(model).shape
    dialogues = dialogues_of(scenes, 6)
    rivals = contenders(texts, [0.1], shape)
    rows = evaluate(
        model, processor, rivals, dialogues, tmp_path, Names("m", "d"), ttft_dialogues=0, show_progress=False
    )["rows"]
    assert [row["method"] for row in rows] == ["full", "adsc", "adsc"]
    assert rows[1]["flops"] == rows[2]["flops"] < rows[0]["flops"]
    assert rows[2]["average"] > rows[1]["average"]
    alone = evaluate(
        model,
        processor,
        contenders(["full"], [0.1], shape),
        dialogues,
        tmp_path / "alone",
        Names("m", "d"),
        ttft_dialogues=0,
        show_progress=False,
    )["rows"][0]
    assert alone["accuracy"] == rows[0]["accuracy"]


def test_the_command_line_trains_it(scenes, tmp_path, monkeypatch, capsys):
    text = f"train --data {scenes} --method {HARSH} --out {tmp_path / 'a'} --epochs 1 --quiet --device cpu"
    for name, value in (("targets", "q_proj,v_proj"), ("shape", "cosine"), ("rank", 4)):
        text += f" --set {name}={value}"
    monkeypatch.setattr("sys.argv", ["pinhole", *text.split()])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert f"use it as adsc:{tmp_path / 'a'}" in capsys.readouterr().out.replace("\n", "")
    assert len(load_file(tmp_path / "a" / "adapter_model.safetensors")) == 2 * 4 * 2
    told = json.loads((tmp_path / "a" / "training.json").read_text())
    assert (told["rank"], told["shape"], told["lr"], told["batch"]) == (4, "cosine", 2e-4, 16)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}])
def test_a_stopped_run_goes_on_to_the_same_weights(embedded, scenes, tmp_path, monkeypatch, options):
    run(embedded, scenes, tmp_path / "whole", options=options)
    modules = {name: id(module) for name, module in embedded[0].named_modules()}
    sums = Bottleneck.sums

    def stopping(self, part, step):
        if step.number == 5:
            raise StoppedError
        return sums(self, part, step)

    monkeypatch.setattr(Bottleneck, "sums", stopping)
    with pytest.raises(StoppedError):
        run(embedded, scenes, tmp_path / "part", options=options)
    assert {name: id(module) for name, module in embedded[0].named_modules()} == modules
    monkeypatch.undo()
    torch.rand(3)
    run(embedded, scenes, tmp_path / "part", options=options, resume=True)
    whole, part = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "part"))
    assert whole.keys() == part.keys()
    assert all(torch.equal(value, part[name]) for name, value in whole.items())
    assert [r["loss"] for r in log_of(tmp_path / "whole")] == [r["loss"] for r in log_of(tmp_path / "part")]


def test_micro_batches_and_checkpointing_change_the_weights_by_rounding_alone(embedded, scenes, tmp_path):
    settings = replace(SHORT, epochs=1, batch=6)
    run(embedded, scenes, tmp_path / "a", settings)
    run(embedded, scenes, tmp_path / "b", replace(settings, micro_batch=2, gradient_checkpointing=True))
    for a, b in zip(log_of(tmp_path / "a"), log_of(tmp_path / "b"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)


def test_an_adapter_learns_on_from_where_another_run_ended(embedded, scenes, trained, tmp_path):
    out, *_ = trained
    settings = replace(SHORT, epochs=1, batch=12)
    run(embedded, scenes, tmp_path / "a", settings, spec=f"adsc:{out}", options={"length": 0})
    assert log_of(tmp_path / "a")[0]["loss"] < log_of(out)[-1]["loss"]
    assert json.loads((tmp_path / "a" / "training.json").read_text())["from"] == str(out)
    with pytest.raises(ValueError, match="has rank 4 and alpha 8: set both the same"):
        run(embedded, scenes, tmp_path / "b", settings, spec=f"adsc:{out}", options={"alpha": 16})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank and alpha are at least 1, got 0 and 32"),
        ({"dropout": 1.0}, "dropout is a share in"),
        ({"direction": "reverse"}, "direction is mild-to-full or full-to-mild, got 'reverse'"),
        ({"shape": "sine"}, "shape is linear, cosine or step, got 'sine'"),
        ({"length": 1.5}, "length is a share of the steps"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BottleneckOptions(**options)


def test_a_target_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(
        ValueError, match=r"type 'llava' have no linear layer 'wqkv'.*down_proj,gate_proj,k_proj,o_proj"
    ):
        recipe_of(tiny.llava(), targets="q_proj, wqkv")


INSIDE = [name for name in zoo.ZOO if not family_of(zoo.model_of(name)).uncut]


@pytest.mark.parametrize("name", INSIDE)
def test_all_linear_is_every_linear_layer_in_the_llm_and_none_elsewhere(name):
    model = zoo.model_of(name)
    family = family_of(model)
    made = Adapter(family, LoraConfig(r=2, target_modules=targets_of(family, "all-linear")))
    inside = [module for module in family.language_model.layers.modules() if isinstance(module, torch.nn.Linear)]
    assert len(made.weights) == 2 * len(inside)
