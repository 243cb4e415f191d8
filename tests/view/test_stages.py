"""Which visual tokens are alive in each layer, against the hidden states and the KV cache of a pass."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from transformers import DynamicCache

import zoo
from pinhole import Sample, compress
from pinhole.evaluation.contender import Contender
from pinhole.families import family_of
from pinhole.kept import lengths_of, state_of
from pinhole.layout import Layout, View
from pinhole.methods.sparsevlm import SparseVLM
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.view.asking import Asked, decisions, entrants
from pinhole.view.marks import DARK, OUTLINE, of_decision, of_reduction, of_relevance
from pinhole.view.pictures import layer_usage
from pinhole.view.subject import Decision

SPECS = [f"{name}:{settings}" for name, settings in zoo.INSIDE.items() if name != "sparsevlm"]
SPECS += ["sparsevlm:layers=(2,3),retain=(0.5,0.25),recycle=false", "sample:keep=0.5+fastv:layer=2"]


@contextlib.contextmanager
def reading(model):
    """Hidden states (q, d) that each layer was given, and those that it gave, of the last pass of a block."""
    given, made, layers = {}, {}, family_of(model).language_model.layers
    with contextlib.ExitStack() as hooks:
        for number, layer in enumerate(layers):

            def before(_module, args, number=number):
                given[number] = args[0][0]

            def after(_module, _args, output, number=number):
                made[number] = (output if isinstance(output, torch.Tensor) else output[0])[0]

            hooks.callback(layer.input_layernorm.register_forward_pre_hook(before).remove)
            hooks.callback(layer.register_forward_hook(after).remove)
        yield given, made


def alive_by_hand(model, visual_columns, kept_at_input, given, made) -> list[list[int]]:
    """For each layer, which visual tokens its input holds: rows of it are rows of what the layer before it made."""
    first, last = int(visual_columns[0]), int(visual_columns[-1])
    length = len(given[0]) + (last - first + 1) - len(kept_at_input)
    text = [column for column in range(length) if not first <= column <= last]
    columns = sorted([*text, *(first + token for token in kept_at_input)])
    alive = []
    for number in range(len(given)):
        if number:
            same = (given[number][:, None] == made[number - 1][None]).all(-1)
            assert bool((same.sum(1) == 1).all())
            columns = [columns[place] for place in same.int().argmax(1).tolist()]
        alive.append([column - first for column in columns if first <= column <= last])
    return alive


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl"])
@pytest.mark.parametrize("spec", SPECS)
def test_survivors_are_those_whose_hidden_states_each_layer_reads(family, spec):
    model = zoo.model_of(family)
    inputs = zoo.row(family, model, seed=3)
    asked = entrants(model, [spec], [0.25])
    with reading(model) as (given, made):
        [decision], visual = decisions(model, inputs, asked, Scope())
    kept = decision.reduction.anchors.tolist()
    expected = alive_by_hand(model, visual.columns, kept, given, made)
    found = [stage.alive.tolist() for stage in decision.stages() for _ in range(stage.first, stage.last + 1)]
    assert found == expected
    assert decision.per_layer() == [len(alive) for alive in expected]
    lived = torch.tensor([[token in alive for token in range(visual.tokens.n)] for alive in expected])
    assert torch.equal(layer_usage(decision) > 0, lived)


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
def test_survivors_are_those_that_the_kv_cache_holds(family):
    model = zoo.model_of(family)
    inputs = zoo.row(family, model, seed=4)
    method = SparseVLM(layers=(2, 3), retain=(0.5, 0.25))
    [decision], visual = decisions(model, inputs, [Asked("", 1.0, Contender("", (method,), None))], Scope())
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    with torch.no_grad(), compress(model, method):
        model(**inputs, past_key_values=cache)
    length, first = inputs["input_ids"].shape[1], int(visual.columns[0])
    words = length - visual.tokens.n
    held = lengths_of(cache, 4, length)
    assert held == [words + count for count in decision.per_layer()]
    assert held == [layer.get_seq_length() for layer in cache.layers]
    for stage in decision.stages()[1:]:
        columns = state_of(cache)[stage.first].all_columns(length)[0]
        visual_columns = columns[torch.isin(columns, visual.columns)]
        assert (visual_columns - first).tolist() == stage.alive.tolist()


def test_merges_between_layers_are_one_matrix_of_the_picture():
    model = zoo.model_of("llava")
    method = SparseVLM(layers=(2, 3), retain=(0.5, 0.25))
    asked = [Asked("", 1.0, Contender("", (Sample(keep=0.75), method), None))]
    [decision], _ = decisions(model, zoo.row("llava", model), asked, Scope())
    p = decision.reduction.matrix()
    for cut in (2, 3):
        rows = decision.cuts[cut].matrix()
        p = rows[rows.argmax(-1).argsort()] @ p
    last = decision.stages()[-1]
    assert torch.allclose(last.reduction.matrix(), p)
    assert torch.allclose(layer_usage(decision)[3], p.sum(0))
    assert torch.allclose(last.reduction.matrix().sum(1), torch.ones(last.reduction.m))


def placed(reduction: Reduction) -> Reduction:
    return reduction.placed(Layout.of(View(1, reduction.n)))


def test_layers_are_told_apart_by_colour_and_counted():
    cuts = {1: Reduction.select(torch.tensor([0, 2, 3]), 4), 3: Reduction.select(torch.tensor([1]), 3)}
    decision = Decision("m", None, placed(Reduction.select(torch.tensor([1, 2, 4, 5]), 6)), cuts, 5)
    marks, keys = of_decision(decision)
    assert decision.per_layer() == [4, 3, 3, 1, 1]
    assert marks.outlined.tolist() == [False] * 4 + [True] + [False]
    assert marks.cover.tolist() == [0, 0.6, 0.6, 0, 0, 0.6]
    assert (marks.colour[1] == marks.colour[5]).all()
    assert (marks.colour[1] != marks.colour[2]).any()
    assert [(key.sign if key.sign in (OUTLINE, DARK) else "#", key.text) for key in keys] == [
        (OUTLINE, "alive in all layers: 1"),
        ("#", "alive in layers 0 to 2 only: 2"),
        ("#", "alive in layer 0 only: 1"),
        (DARK, "left out at the input: 2"),
    ]


def test_a_method_that_withdraws_every_token_leaves_none_outlined():
    decision = Decision("m", None, placed(Reduction.identity(6)), {2: Reduction.nothing(6)}, 4)
    marks, keys = of_decision(decision)
    assert decision.per_layer() == [6, 6, 0, 0]
    assert not marks.outlined.any()
    assert [key.text for key in keys] == ["alive in layers 0 to 1 only: 6"]


def test_heat_is_the_use_of_each_token_as_a_share_of_the_largest():
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.25, 0.0, 0.75, 0.0]])
    reduction = Reduction.mix(weights)
    assert reduction.usage().tolist() == [0.75, 0.5, 0.75, 0.0]
    assert reduction.usage().sum() == reduction.m
    marks, keys = of_reduction(reduction)
    assert np.allclose(marks.cover, 0.1 + 0.6 * np.sqrt([1, 2 / 3, 1, 0]))
    assert np.allclose(
        marks.colour[[0, 3]], np.array([[0.993248, 0.906157, 0.143936], [0.267004, 0.004874, 0.329415]]) * 255
    )
    assert marks.outlined.tolist() == [True, False, True, False]
    assert keys[0].text == "use in the kept tokens, 0 to 0.75"


def test_relevance_is_told_in_shares_of_its_sum():
    marks, [key] = of_relevance(torch.tensor([3.0, 1.0, 0.0, 4.0]))
    assert key.text == "share of the sum, 0 to 0.5"
    assert marks.cover.argmax() == 3
    assert np.allclose(marks.cover, 0.1 + 0.6 * np.sqrt([0.75, 0.25, 0, 1]))
