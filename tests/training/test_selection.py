"""VisionSelector's recipe: the soft top-k by brute force, its gradient by finite differences, the loss by hand."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from pinhole.compression import compress
from pinhole.data import read_dialogues
from pinhole.families import family_of
from pinhole.methods.visionselector import VisionSelector
from pinhole.registry import MethodSpec
from pinhole.scope import Scope
from pinhole.training.examples import batch_of, order
from pinhole.training.loop import train
from pinhole.training.settings import TrainSettings
from pinhole.training.soft_top_k import soft_top_k

SPEC = MethodSpec.parse("visionselector:keep=0.1")
SHORT = TrainSettings(epochs=1, batch=6, lr=1e-2, clip=1.0)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=40), st.data())
def test_the_mask_sums_to_k_and_keeps_the_order(values, data):
    k = data.draw(st.integers(1, len(values) - 1))
    scores = torch.tensor(values, dtype=torch.float64)
    mask = soft_top_k(scores, k)
    assert mask.sum().item() == pytest.approx(k, abs=1e-9)
    assert bool((mask[scores.argsort()].diff() >= -1e-15).all())


def test_two_scores_by_hand():
    """sigma(a + t) + sigma(b + t) = 1 at t = -(a + b) / 2: the first is sigma((a - b) / 2)."""
    mask = soft_top_k(torch.tensor([3.0, 1.0]), 1)
    assert mask.tolist() == pytest.approx([1 / (1 + 2.718281828**-1), 1 / (1 + 2.718281828)], abs=1e-6)


def test_scores_far_apart_give_the_hard_top_k():
    mask = soft_top_k(torch.tensor([50.0, -50.0, 80.0, -80.0, -60.0]), 2)
    assert mask.tolist() == pytest.approx([1, 0, 1, 0, 0], abs=1e-6)


def test_its_gradient():
    scores = torch.randn(9, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: soft_top_k(s, 3), scores)


def test_the_logged_terms_are_those_of_a_model_that_reads_masked_tokens(embedded, scenes, tmp_path):
    model, processor = embedded
    dialogues = read_dialogues(scenes)
    train(model, processor, SPEC, dialogues, tmp_path / "a", SHORT, show_progress=False)
    record = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[0])
    first = [dialogues[i] for i in next(iter(order(len(dialogues), 6, 0, 0)))]
    inputs, method = batch_of(model, processor, first), SPEC.build(family_of(model).width)
    features = model.get_image_features(inputs["pixel_values"]).pooler_output
    hardness, embeddings = [], model.get_input_embeddings()(inputs["input_ids"])
    for row, x in enumerate(features):
        mask = soft_top_k(method(x), 14)
        hard = torch.zeros(144).index_fill_(0, method(x).topk(14).indices, 1.0)
        hardness.append(-(hard * mask.log() + (1 - hard) * (1 - mask).log()).mean().item())
        columns = (inputs["input_ids"][row] == model.config.image_token_id).nonzero()[:, 0]
        embeddings[row, columns] = (x * mask[:, None]).detach()
    with torch.no_grad():
        logits = model.model.language_model(
            inputs_embeds=embeddings, attention_mask=inputs["attention_mask"]
        ).last_hidden_state
        loss = model.loss_function(model.lm_head(logits), inputs["labels"], model.config.text_config.vocab_size)
    assert record["answers"] == pytest.approx(loss.item(), rel=1e-4)
    assert record["hardness"] == pytest.approx(sum(hardness) / len(hardness), rel=1e-4)
    assert record["loss"] == pytest.approx(record["answers"] + 0.1 * record["hardness"], rel=1e-5)


def test_it_learns_and_hardens_and_loads(embedded, scenes, tmp_path):
    model, processor = embedded
    settings = TrainSettings(epochs=15, batch=12, lr=3e-3, clip=1.0)
    method = train(model, processor, SPEC, read_dialogues(scenes), tmp_path / "a", settings, show_progress=False)
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["hardness"] < 0.7 * log[0]["hardness"]
    assert log[-1]["answers"] < log[0]["answers"]
    loaded = VisionSelector.from_pretrained(tmp_path / "a")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in method.state_dict().items())
    assert not torch.equal(
        load_file(tmp_path / "a" / "model.safetensors")["q_proj.weight"], SPEC.build(96).q_proj.weight
    )
    with compress(model, loaded):
        pass


def test_what_has_no_meaning_is_refused(embedded, scenes, tmp_path):
    model, processor = embedded
    dialogues = read_dialogues(scenes)
    with pytest.raises(ValueError, match="nothing leaves while VisionSelector learns"):
        train(model, processor, SPEC, dialogues, tmp_path, TrainSettings(scope=Scope("original")), show_progress=False)
    with pytest.raises(ValueError, match=r"no option 'entropy_weight'.*weight_start, weight_end"):
        train(model, processor, SPEC, dialogues, tmp_path, options={"entropy_weight": 1.0}, show_progress=False)
    everything = MethodSpec.parse("visionselector:keep=1.0")
    with pytest.raises(ValueError, match="nothing to learn at this keep"):
        train(model, processor, everything, dialogues, tmp_path / "b", SHORT, show_progress=False)
