"""The output head reads one token, in a tensor of its own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import tiny
from pinhole import Sample, compress
from pinhole.last_logits import last_logits
from pinhole.session import Session


@pytest.fixture(scope="module")
def model():
    return tiny.llava()


def heard_by_the_head(model, work):
    """Shapes and strides of what the head reads."""
    heard = []
    handle = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, given: heard.append((tuple(given[0].shape), given[0].stride()))
    )
    with handle:
        work()
    return heard


@pytest.mark.parametrize("batch", [1, 3])
def test_the_head_reads_the_last_token_of_each_row_without_gaps(model, batch):
    inputs = tiny.inputs(batch)
    whole = [((batch, 1, tiny.WIDTH), (tiny.WIDTH, tiny.WIDTH, 1))]
    heard = heard_by_the_head(model, lambda: Session(model, Sample(0.25)).ask(inputs, max_new_tokens=2))
    assert heard == whole * 2
    with compress(model, Sample(0.25)):
        assert heard_by_the_head(model, lambda: model.generate(**inputs, max_new_tokens=2)) == whole * 2


def test_answers_are_those_of_a_slice(model):
    inputs = tiny.inputs(2)
    expected = model.generate(**inputs, max_new_tokens=5, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(Session(model).ask(inputs, max_new_tokens=5, do_sample=False), expected)


def test_a_model_that_computes_all_logits_is_left_alone():
    def forward(input_ids):
        return input_ids

    embeddings, device = torch.nn.Embedding(2, 2), torch.device("cpu")
    stub = SimpleNamespace(forward=forward, get_input_embeddings=lambda: embeddings, device=device)
    assert last_logits(stub) == {}
