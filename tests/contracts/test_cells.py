"""The contract: every method on every family, images and videos, one prompt and three, padded left and right."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

import zoo
from layered import Layered
from pinhole import Session, compress
from pinhole.families import FAMILIES, family_of
from pinhole.layer_method import LayerMethod
from pinhole.method import InputMethod
from pinhole.plan import Method, Plan
from pinhole.registry import method_names
from reference import Context

KEEP = 0.25
TOLERANCE = 1e-4
"""transformers computes rotary angles in float32: equal relative positions at another offset differ by rounding."""

EVERY_METHOD_ON, ON_EVERY_FAMILY = ("llava", "llava_onevision", "qwen2_vl"), ("sample", "metacompress", "fastv")


def cells():
    """Every cell; those that `make test` leaves to `make contracts` are marked "contract"."""
    for family, animal in zoo.ZOO.items():
        for modality, name, batch, side in itertools.product(
            animal.modalities, method_names(), (1, 3), ("left", "right")
        ):
            often = batch == 3 and (family in EVERY_METHOD_ON or (name in ON_EVERY_FAMILY and side == "left"))
            marks = () if often else pytest.mark.contract
            yield pytest.param(
                family, modality, name, batch, side, id=f"{family}-{modality}-{name}-{batch}-{side}", marks=marks
            )


def test_every_family_is_in_the_zoo():
    assert set(zoo.ZOO) == set(FAMILIES)
    for name in zoo.ZOO:
        assert set(zoo.ZOO[name].modalities) == set(family_of(zoo.model_of(name)).modalities)


@pytest.mark.parametrize(("family", "modality", "name", "batch", "side"), list(cells()))
@torch.no_grad()
def test_cell(record_property, tmp_path, family, modality, name, batch, side):
    model = zoo.model_of(family)
    prompts, later = (zoo.rows(family, model, modality, seed, batch) for seed in (0, 3))
    zoo.write_labels(tmp_path, model, prompts + later)
    method, inputs = zoo.method(name, KEEP, str(tmp_path)), zoo.together(prompts, side)
    cell = {"family": family, "modality": modality, "method": name, "batch": batch, "side": side}
    cell |= {"outcome": "passed", "reason": ""}
    record_property("cell", cell)
    if reason := refusal(method, family):
        with pytest.raises(ValueError, match=re.escape(reason)):
            compress(model, method)
        cell.update(outcome="refused", reason=reason)
        return
    if isinstance(method, InputMethod):
        check_everything_kept(model, zoo.method(name, 1.0, str(tmp_path)), inputs)
    else:
        model(**inputs)  # transformers installs hooks of its own in the first pass
    before = hooks(model)
    check_logits(model, method, prompts, inputs, side)
    if side == "left":
        check_generation(model, method, prompts, inputs)
        check_dialogue(model, method, prompts, inputs, later)
    assert hooks(model) == before
    assert "generate" not in model.__dict__


def refusal(method: Method, family: str) -> str | None:
    """Why the method cannot run on the family, as far as the two declare it; None where it must run."""
    model = family_of(zoo.model_of(family))
    if missing := method.needs - model.provides:
        return f"needs {', '.join(sorted(missing))}"
    return model.uncut if isinstance(method, LayerMethod) else None


def read(contexts: list[Context], method: Method, prompts: list[dict]) -> list[Context]:
    """Each prompt into its context, reduced at the input as the method does."""
    entry = Plan.of(method).entry
    return [context.read(prompt, entry) for context, prompt in zip(contexts, prompts, strict=True)]


def expected(context: Context, method: Method) -> tuple[torch.Tensor, list[int]]:
    """Logits of the tokens that are left at the end of the LLM, and which these are."""
    if isinstance(method, LayerMethod):
        return Layered(context, method).run()
    return context.logits(), list(range(len(context.tokens)))


def check_everything_kept(model, method: InputMethod, inputs: dict[str, torch.Tensor]) -> None:
    """With keep=1 no bit of the logits changes."""
    plain = model(**inputs).logits
    with compress(model, method) as compression:
        kept = model(**inputs).logits
    assert torch.equal(plain, kept)
    assert all(reduction.m == reduction.n for reduction in compression.reductions)
    assert torch.equal(model(**inputs).logits, plain)


def check_logits(model, method, prompts: list[dict], inputs: dict[str, torch.Tensor], side: str) -> None:
    """m is what the budget says; each row's logits are those of embeddings that were reduced by hand, row by row."""
    if isinstance(method, LayerMethod):  # rounded angles could turn a choice between tokens that score alike
        inputs = {**inputs, "position_ids": family_of(model).full_positions(inputs, inputs["attention_mask"])}
    for policy in ("compact", "original"):
        with compress(model, method, positions=policy) as compression:
            logits = model(**inputs).logits
        contexts = read([Context(model, policy) for _ in prompts], method, prompts)
        decided = [reduction for context in contexts for reduction in context.reductions]
        assert [(r.n, r.m) for r in compression.reductions] == [(r.n, r.m) for r in decided]
        assert logits.shape[1] == max(len(context.tokens) for context in contexts)
        for got, context in zip(logits, contexts, strict=True):
            wanted, alive = expected(context, method)
            length = len(context.tokens)
            mine = got[-length:] if side == "left" else got[:length]
            torch.testing.assert_close(mine[alive], wanted, rtol=0, atol=TOLERANCE)


def check_generation(model, method, prompts: list[dict], inputs: dict[str, torch.Tensor]) -> None:
    """Greedy answers are those that a recomputation without a cache gives; the prompt is returned as it was."""
    with compress(model, method):
        output = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    length = inputs["input_ids"].shape[1]
    assert torch.equal(output[:, :length], inputs["input_ids"])
    contexts = read([Context(model, family_of(model).positions) for _ in prompts], method, prompts)
    for context, answer in zip(contexts, output[:, length:].tolist(), strict=True):
        check_answer(context, method, answer)


def check_dialogue(model, method, prompts: list[dict], inputs: dict[str, torch.Tensor], later: list[dict]) -> None:
    """A turn of text and a turn with new images, each of its own tokens only, answer as a recomputation would."""
    batch = len(prompts)
    session = Session(model, method)
    contexts = [Context(model, family_of(model).positions) for _ in prompts]
    texts = zoo.words(4, seed=1, batch=batch)
    turns = [
        (inputs, prompts),
        (texts, [{name: value[i : i + 1] for name, value in texts.items()} for i in range(batch)]),
        (zoo.together(later), later),
    ]
    for turn, alone in turns:
        answers = session.ask(turn, max_new_tokens=2, do_sample=False).tolist()
        for context, answer in zip(read(contexts, method, alone), answers, strict=True):
            check_answer(context, method, answer)
    assert session.context.attention_mask.sum(-1).tolist() == [len(context.tokens) for context in contexts]


def check_answer(context: Context, method: Method, answer: list[int]) -> None:
    """Each token is the likeliest after those before it, but for placeholders, which are never said."""
    family = family_of(context.model)
    for token in answer:
        logits = expected(context, method)[0][-1].clone()
        logits[[family.token_id(modality) for modality in family.modalities]] = -torch.inf
        best = logits.max()
        assert best - logits[token] < TOLERANCE
        context.say(token)


def hooks(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())
