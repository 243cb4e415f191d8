"""What is counted agrees with what `budget` says, for every family, stage and cue."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

import zoo
from pinhole.benchmark.costs import cost_of
from pinhole.benchmark.flops import flop_counter
from pinhole.benchmark.prefill import prefill
from pinhole.benchmark.rivals import Watched, limit
from pinhole.benchmark.subject import Lengths, Subject, subject_of_shape
from pinhole.budget import Budget, kept_tokens
from pinhole.evaluation.contender import Contender, contenders
from pinhole.methods.metacompress import MetaCompress
from pinhole.methods.sample import Sample
from pinhole.reduction import Reduction


@pytest.fixture(scope="module")
def subject():
    return subject_of_shape("tiny", Lengths(turns=1), "float32", "cpu")


def of_zoo(family: str) -> Subject:
    return Subject(zoo.model_of(family), zoo.row(family, zoo.model_of(family)), (), 2)


def rival(*names: str) -> Contender:
    methods = tuple(zoo.method(name) for name in names)
    return Contender("+".join(names), methods, 0.25)


@pytest.mark.parametrize(
    "spec",
    [
        "full", "sample", "metacompress", "tome", "visionzip", "prumerge", "vispruner", "cdpruner", "divprune",
        "relevance", "relevance:input_layer=2", "fastv", "pyramiddrop", "sparsevlm", "dart", "vtw", "adsc",
        "sample:keep=0.5+fastv",
    ],
)  # fmt: skip
def test_the_llm_computes_what_the_budget_says(subject, spec):
    [contender] = contenders([spec], [0.1], subject.family.shape)
    cost = cost_of(subject, contender)
    counted, analytic = cost["flops"], cost["analytic"]
    assert counted["llm"] == pytest.approx(analytic["flops"]["llm"], rel=0.01)
    assert cost["kv_bytes"] == analytic["kv_bytes"]
    assert counted["encoder"] + counted["method"] + counted["llm"] == counted["total"]
    assert (cost["visual_tokens"], cost["text_tokens"]) == (144, 64)
    assert len(cost["per_layer"]) == 8


@pytest.mark.parametrize("methods", [("full",), ("sample",), ("metacompress",), ("fastv",), ("sample", "pyramiddrop")])
@pytest.mark.parametrize("family", ["llava", "llava_next", "llava_onevision", "internvl", "qwen2_vl", "qwen3_vl"])
def test_the_llm_computes_what_the_budget_says_in_every_family(family, methods):
    cost = cost_of(of_zoo(family), rival(*methods))
    assert cost["flops"]["llm"] == pytest.approx(cost["analytic"]["flops"]["llm"], rel=0.01)
    assert cost["kv_bytes"] == cost["analytic"]["kv_bytes"]


@pytest.mark.parametrize("past", [0, 9])
def test_the_budget_counts_as_the_attention_kernel_of_the_cpu_does(subject, past):
    cache = DynamicCache(config=subject.model.config.get_text_config(decoder=True))
    turn = torch.full((1, 32), 5)
    with torch.no_grad():
        if past:
            subject.model(input_ids=turn[:, :past], past_key_values=cache)
        with flop_counter() as counter, FlopCounterMode(display=False) as blind:
            subject.model(input_ids=turn, past_key_values=cache, logits_to_keep=1)
    expected = Budget.constant(32, 12, 8).prefill_flops(subject.family.shape, 20, past)
    assert counter.get_total_flops() == expected
    assert blind.get_total_flops() < expected, "PyTorch counts the kernel now: ours can go"


def test_attention_is_counted_backward_too():
    query, key, value = (torch.rand(1, 4, 9, 8, requires_grad=True) for _ in range(3))
    with flop_counter() as counter:
        said = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        forward = counter.get_total_flops()
        said.sum().backward()
    square = 2 * 4 * 9 * 9 * 8
    assert forward == 2 * square, "scores, and what they weigh"
    assert counter.get_total_flops() - forward == 5 * square, (
        "scores again, then gradients: two of these, of Q, K and V"
    )


def test_a_methods_own_work_is_that_of_its_formula(subject):
    [contender] = contenders(["metacompress"], [0.1], subject.family.shape)
    cost = cost_of(subject, contender)
    assert cost["flops"]["method"] == cost["analytic"]["flops"]["method"] == MetaCompress(128).flops(144, 14, 128)


def test_a_merge_counts_what_is_added_up(subject):
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([4, 2, 2])
    merged, x = Reduction.merge(rows, columns, 2, 5), torch.ones(5, 7)
    for needs in (False, True):
        with flop_counter() as counter, torch.set_grad_enabled(needs):
            merged.apply(x.requires_grad_(needs))
        assert counter.get_total_flops() == 2 * 3 * 7
    [contender] = contenders(["spatial"], [0.1], subject.family.shape)
    cost = cost_of(subject, contender)
    assert cost["flops"]["method"] == cost["analytic"]["flops"]["method"] == 2 * 144 * 128


def test_picking_tokens_costs_nothing_and_cues_cost_something(subject):
    shape = subject.family.shape
    costs = {
        name: cost_of(subject, contenders([name], [0.1], shape)[0])["flops"]
        for name in ("full", "sample", "visionzip", "vtw", "fastv")
    }
    assert {cost["encoder"] for cost in costs.values()} == {costs["full"]["encoder"]}
    assert costs["full"]["method"] == costs["sample"]["method"] == costs["vtw"]["method"] == 0
    assert costs["visionzip"]["method"] > 0
    # one row of scores: 208 keys of 4 heads, 32 wide
    assert costs["fastv"]["method"] == 2 * 208 * 128


def test_the_limit_reads_as_many_tokens_as_sample_and_does_nothing(subject):
    best = cost_of(subject, limit(144, 0.1, torch.device("cpu")))
    sample = cost_of(subject, Contender("sample", (Sample(0.1),), 0.1))
    assert best == sample
    assert best["kept_tokens"] == kept_tokens(144, 0.1)


@pytest.mark.parametrize("name", ["fastv", "pyramiddrop", "sparsevlm", "adsc", "vtw"])
def test_a_method_that_is_watched_decides_as_it_does_unwatched(name):
    subject, inner = of_zoo("llava"), zoo.method(name)
    seen: list[int] = []

    @contextlib.contextmanager
    def around():
        seen.append(1)
        yield

    watched = Watched(inner=inner, around=around)
    assert (watched.cuts(4), watched.positions, watched.watches) == (inner.cuts(4), inner.positions, inner.watches)
    assert watched.budget(16, 16, 4) == inner.budget(16, 16, 4)
    assert watched.at(0.5, 4).inner == inner.at(0.5, 4)
    plan = rival(name).plan
    plain, counted = prefill(subject, plan), prefill(subject, plan, around)
    assert len(seen) == len(inner.cuts(4))
    for one, other in zip(plain.cache.layers, counted.cache.layers, strict=True):
        assert torch.equal(one.keys, other.keys)


def test_products_of_a_matrix_and_a_vector_count():
    with flop_counter() as counter:
        torch.ones(3, 5) @ torch.ones(5)
    assert counter.get_total_flops() == 2 * 3 * 5
