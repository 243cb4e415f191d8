"""Rollout by rows against its definition by matrices, with eager attention and autograd over all maps."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import zoo
from eager import eager
from pinhole.explain import layer
from pinhole.explain.layer import Attention, carried, down, visible_keys
from pinhole.explain.rollout import relevance
from pinhole.families import family_of
from pinhole.families.cues import Call
from zoo import ZOO, gemma, model_of, mosaic, row

ANSWER = torch.tensor([5, 77, 130])
every_case = pytest.mark.parametrize(
    ("name", "modality"), [(name, modality) for name, animal in ZOO.items() for modality in animal.modalities]
)


@functools.cache
def pair(name: str, dtype: torch.dtype = torch.float64) -> tuple[Any, Any]:
    """A model of the zoo, and its copy with eager attention."""
    model = model_of(name) if dtype == torch.float64 else ZOO[name].build(dtype=dtype)
    return model, eager(model)


def definition(model: Any, inputs: dict, answer: torch.Tensor, weighting: str = "gradient") -> list[torch.Tensor]:
    """R_v of every image or video: whole matrices of one native pass over prompt and answer, token by token."""
    prompt = inputs["input_ids"]
    ids = torch.cat([prompt, answer[None]], 1)
    of_tokens = {
        name: torch.cat([value, torch.zeros_like(answer)[None]], 1)
        for name, value in inputs.items()
        if value.shape == prompt.shape
    }
    given = {**inputs, **of_tokens, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    output = model(**given, output_attentions=True, use_cache=False)
    rows = []
    for number, token in enumerate(answer.tolist()):
        place = prompt.shape[1] + number - 1
        gradients = torch.autograd.grad(output.logits[0, place, token], output.attentions, retain_graph=True)
        r = torch.eye(ids.shape[1], dtype=output.logits.dtype)
        for attention, gradient in zip(output.attentions, gradients, strict=True):
            weighted = (attention * gradient).clamp_min(0) if weighting == "gradient" else attention
            r = r + weighted[0].detach().mean(0) @ r
        rows.append(r[place])
    r_v = torch.stack(rows).mean(0)
    return [r_v[visual.columns] for visual in family_of(model).encode(inputs)[0]]


def agree(got: list[torch.Tensor], expected: list[torch.Tensor], rtol: float = 0.0) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        assert other.max() > 1e-3
        torch.testing.assert_close(one, other.float(), atol=1e-6, rtol=rtol)


@pytest.mark.parametrize("weighting", ["gradient", "mean"])
@every_case
def test_it_is_the_definition_on_every_family(name, modality, weighting):
    model, reference = pair(name)
    inputs = row(name, model, modality, seed=1, count=2)
    expected = definition(reference, inputs, ANSWER, weighting)
    got = relevance(family_of(model), inputs, ANSWER, weighting)
    assert len(got) == 2
    agree(got, expected)


@every_case
def test_it_is_the_definition_in_float32(name, modality):
    model, reference = pair(name, torch.float32)
    inputs = row(name, model, modality, seed=1, count=2, dtype=torch.float32)
    agree(relevance(family_of(model), inputs, ANSWER), definition(reference, inputs, ANSWER), rtol=1e-5)


@pytest.mark.parametrize("weighting", ["gradient", "mean"])
@pytest.mark.parametrize("name", ["gemma3", "aya_vision"])
def test_layers_with_a_sliding_window_look_no_further_back(name, weighting, monkeypatch):
    usual = model_of(name)  # it is kept for other tests: made before the window shrinks
    monkeypatch.setitem(mosaic.WINDOWS, "sliding_window", 6)
    model = gemma.gemma3(window=6) if name == "gemma3" else mosaic.aya_vision()
    inputs = row(name, model, seed=1, count=2)
    got = relevance(family_of(model), inputs, ANSWER, weighting)
    agree(got, definition(eager(model), inputs, ANSWER, weighting))
    whole = relevance(family_of(usual), inputs, ANSWER, weighting)
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(got, whole, strict=True))


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen3_vl"])
def test_a_model_with_eager_attention_gives_the_same(name):
    model, other = pair(name)
    inputs = row(name, model, seed=2)
    agree(relevance(family_of(other), inputs, ANSWER), relevance(family_of(model), inputs, ANSWER))


def test_an_answer_of_one_token():
    model, reference = pair("qwen2_5_vl")
    inputs = row("qwen2_5_vl", model, seed=3)
    agree(relevance(family_of(model), inputs, ANSWER[:1]), definition(reference, inputs, ANSWER[:1]))


def test_longer_answers_are_means_over_their_tokens():
    model, _ = pair("llava")
    inputs = row("llava", model, seed=4)
    grown = [relevance(family_of(model), inputs, ANSWER[:count])[0] for count in (1, 2)]
    ids = torch.cat([inputs["input_ids"], ANSWER[None, :1]], 1)
    later = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    [second] = relevance(family_of(model), later, ANSWER[1:2])
    torch.testing.assert_close(grown[1], (grown[0] + second) / 2, atol=1e-7, rtol=0)


@pytest.mark.parametrize("weighting", ["gradient", "mean"])
def test_a_few_queries_at_a_time_change_nothing(weighting, monkeypatch):
    model, _ = pair("internvl")
    inputs = row("internvl", model, seed=5)
    expected = relevance(family_of(model), inputs, ANSWER, weighting)
    monkeypatch.setitem(layer._AT_ONCE, "cpu", 1)
    agree(relevance(family_of(model), inputs, ANSWER, weighting), expected)


def test_encoded_images_are_taken_as_they_are():
    model, _ = pair("llava_next")
    inputs = row("llava_next", model, seed=6, count=2)
    visuals, _ = family_of(model).encode(inputs)
    expected = relevance(family_of(model), inputs, ANSWER)
    agree(relevance(family_of(model), inputs, ANSWER, visuals=visuals), expected)


def test_half_precision_gives_float32():
    model = ZOO["llava"].build(dtype=torch.bfloat16)
    inputs = row("llava", model, seed=7, dtype=torch.bfloat16)
    [got] = relevance(family_of(model), inputs, ANSWER)
    [expected] = relevance(family_of(model.float()), {**inputs, "pixel_values": inputs["pixel_values"].float()}, ANSWER)
    assert got.dtype == torch.float32
    assert torch.cosine_similarity(got, expected, dim=0) > 0.98


def test_the_model_stays_as_it_is():
    model, _ = pair("llava")
    before = {name: id(module.config) for name, module in model.named_modules() if hasattr(module, "config")}
    logits = model(**row("llava", model)).logits
    relevance(family_of(model), row("llava", model), ANSWER)
    assert before == {name: id(module.config) for name, module in model.named_modules() if hasattr(module, "config")}
    assert not any(str(name).startswith("pinhole") for name in ALL_ATTENTION_FUNCTIONS)
    assert not any(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in family_of(model).language_model.layers)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(**row("llava", model)).logits, logits)


TOKENS = torch.tensor([[[5.0, math.log(3), 2.0], [1.0, 0.0, -1.0]]])
"""Query, key and value of two tokens; the second sees A = (3/4, 1/4)."""


def by_hand(x: torch.Tensor) -> Attention:
    """A layer of one head of width 1 that reads `TOKENS` and adds its output to each of their numbers."""
    query, key, value = (x[:, None, :, i : i + 1] for i in range(3))
    output = torch.tensor([2.0, 0.75 * 2 - 0.25]).view(1, 2, 1, 1).requires_grad_()
    return Attention(x, x + output[..., 0], Call(query, key, 1.0), value, None, output)


def test_one_layer_by_hand():
    rows = torch.tensor([[0.0, 1.0]])
    gradient = torch.zeros(1, 2, 3)
    gradient[0, 1, 0] = 1
    # dA is V = (2, -1) for the second token, of which (A * dA)^+ leaves (3/2, 0)
    added, below = down(by_hand(TOKENS.clone().requires_grad_()), rows, gradient)
    torch.testing.assert_close(added, torch.tensor([[1.5, 0.0]]))
    # sum(A * dA) = 5/4, so that dS = (9/16, -9/16); dQ, dK and dV follow, and 1 comes past the attention
    expected = torch.tensor([[[0, 0.5625, 0.75], [1 + 0.5625 * math.log(3), -0.5625, 0.25]]])
    torch.testing.assert_close(below, expected)


def test_two_layers_with_mean_weights_by_hand():
    attention = by_hand(TOKENS)
    rows = torch.tensor([[0.0, 1.0]])
    rows = rows + carried(attention, rows)
    torch.testing.assert_close(rows, torch.tensor([[0.75, 1.25]]))
    # (I + A)^2 with I + A = ((2, 0), (3/4, 5/4))
    torch.testing.assert_close(rows + carried(attention, rows), torch.tensor([[2.4375, 1.5625]]))


def test_a_window_without_a_mask_is_found():
    call = Call(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 4, 1), 1.0, 2)
    expected = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]], dtype=torch.bool)
    assert torch.equal(visible_keys(call, None, {}), expected)
    assert torch.equal(visible_keys(call, torch.ones(1, 4), {}), expected), "as FlashAttention is given it"
    assert visible_keys(Call(call.query, call.key, 1.0, 4), None, {}) is None


def test_what_cannot_be_explained_is_refused():
    model, _ = pair("llava")
    family, prompt = family_of(model), row("llava", model)
    words = zoo.words(5, seed=0)
    padded = zoo.together([prompt, row("llava", model, seed=1)])
    one_row = {name: value[:1] for name, value in padded.items()}
    refused = [
        ((prompt, ANSWER, "median"), "weighting is gradient or mean, got 'median'"),
        ((prompt, ANSWER[:0]), "at least one token id"),
        ((prompt, ANSWER[None]), "one row of at least one token id"),
        ((words, ANSWER), "no image and no video"),
        ((padded, ANSWER), "one prompt without padding"),
        ((one_row, ANSWER), "one prompt without padding"),
    ]
    for arguments, message in refused:
        with pytest.raises(ValueError, match=message):
            relevance(family, *arguments)
    call = Call(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 4, 1), 1.0)
    with pytest.raises(ValueError, match="caps its attention's scores"):
        visible_keys(call, None, {"softcap": 30.0})
    with pytest.raises(ValueError, match="attn_implementation='sdpa'"):
        visible_keys(call, object(), {})
