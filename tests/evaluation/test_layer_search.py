"""VTW's layer search, against layers called one by one."""

from __future__ import annotations

import math

import pytest
import torch

from pinhole.data import read_dialogues
from pinhole.encoding import encode_turn
from pinhole.evaluation.layer_search import LayerSearch, divergence, search_layer
from pinhole.families import family_of
from pinhole.transcript import Transcript

QUICK = ("--device", "cpu", "--quiet")


@torch.no_grad()
def next_token(model, inputs, cut: int | None) -> torch.Tensor:
    """Log-probabilities of the next token, where visual tokens leave in front of layer `cut`."""
    family, caught = family_of(model), {}
    llm = family.language_model
    hook = llm.register_forward_pre_hook(lambda module, args, kwargs: caught.update(kwargs), with_kwargs=True)
    model(**inputs)
    hook.remove()
    hidden = caught["inputs_embeds"]
    positions = torch.arange(hidden.shape[1])[None]
    for number, layer in enumerate(llm.layers):
        if number == cut:
            is_text = inputs["input_ids"][0] != family.token_id("image")
            hidden, positions = hidden[:, is_text], positions[:, is_text]
        hidden = layer(hidden, attention_mask=None, position_embeddings=llm.rotary_emb(hidden, positions))
    return model.lm_head(llm.norm(hidden))[0, -1].double().log_softmax(-1)


def test_divergences_are_those_of_layers_called_one_by_one(embedded, scenes):
    model, processor = embedded
    dialogues = read_dialogues(scenes)[:3]
    found = search_layer(model, processor, dialogues, smallest=1, show_progress=False)
    depth = len(family_of(model).language_model.layers)
    assert list(found.divergences) == list(range(1, depth))
    for layer, mean in found.divergences.items():
        total = 0.0
        for dialogue in dialogues:
            text = Transcript(processor).question(dialogue.turns[0].question, 1)
            inputs = encode_turn(model, processor, [text], dialogue.load_images())
            cut, full = next_token(model, inputs, layer), next_token(model, inputs, None)
            total += float((cut.exp() * (cut - full)).sum())
        assert mean == pytest.approx(total / 3, rel=1e-3, abs=1e-5)
    assert found.divergences[1] > 0.01, "the embedded model looks at the image behind its first layer"


def test_the_divergence_by_hand():
    cut, full = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(cut + 3, full - 5) == pytest.approx(expected)
    assert divergence(full, full) == 0
    assert divergence(full, cut) != pytest.approx(expected), "the two have different parts"


def test_the_first_layer_that_is_good_enough_is_taken():
    means = {5: 0.4, 6: 0.003, 7: 0.2, 8: 0.001}
    assert LayerSearch(0.003, means).layer == 6
    assert LayerSearch(0.002, means).layer == 8
    assert LayerSearch(0.0005, means).layer is None


def test_layers_that_the_llm_lacks_and_no_data_are_refused(embedded, scenes):
    model, processor = embedded
    dialogues = read_dialogues(scenes)[:1]
    depth = len(family_of(model).language_model.layers)
    for smallest in (0, depth):
        with pytest.raises(ValueError, match=f"this LLM has layers 0 to {depth - 1}: start at 1 to {depth - 1}"):
            search_layer(model, processor, dialogues, smallest=smallest)
    with pytest.raises(ValueError, match="give dialogues"):
        search_layer(model, processor, [], smallest=1)


def test_the_command_prints_every_layer_and_the_choice(scenes, pinhole):
    code, out, _ = pinhole("vtw-search", *QUICK, "--data", scenes, "--samples", 2, "--smallest", 1, "--eta", 100)
    assert code == 0
    assert out.split()[:2] == ["layer", "KL"]
    assert out.rstrip().endswith("use vtw:layer=1")


def test_the_command_says_where_no_layer_will_do(scenes, pinhole):
    code, out, err = pinhole("vtw-search", *QUICK, "--data", scenes, "--samples", 1, "--smallest", 1, "--eta", -1)
    assert code == 1
    assert "layer" in out
    assert "no layer changes the next token as little as eta = -1.0: allow more with --eta" in err
