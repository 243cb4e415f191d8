"""The port of VILA-1.5 against itself: batches, caches, features, gradients, attention."""

from __future__ import annotations

import pytest
import torch
from transformers import AttentionInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_outputs import BaseModelOutputWithPooling

from models.vila_tiny import IMAGE, PATCH, VISUAL, tiny_vila, tiny_vila_inputs
from pinhole.models.vila import VilaForConditionalGeneration
from pinhole.models.vila.modeling import _merge_2x2


@pytest.fixture(scope="module")
def model() -> VilaForConditionalGeneration:
    return tiny_vila()


def test_merged_patches_run_down_the_columns_and_odd_sides_get_zeros():
    merged = _merge_2x2(torch.arange(1.0, 10)[None, :, None])
    assert merged[0].tolist() == [[1, 2, 4, 5], [7, 8, 0, 0], [3, 0, 6, 0], [9, 0, 0, 0]]


def test_a_token_sees_its_own_patches_first(model):
    """Without attention between patches, a change in the picture's lower left corner reaches that token alone."""
    pixels = tiny_vila_inputs()["pixel_values"]
    changed = pixels.clone()
    changed[..., -PATCH:, :PATCH] += 1
    tower = model.model.vision_tower
    with torch.no_grad():
        patches = [tower.embeddings(x) for x in (pixels, changed)]
        first, second = (model.model.multi_modal_projector(x)[0] for x in patches)
    assert (first != second).any(-1).nonzero().flatten().tolist() == [2]


def test_eager_is_sdpa(model):
    inputs = tiny_vila_inputs(2, "right")
    eager = tiny_vila()
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        a, b = model(**inputs).logits, eager(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert torch.allclose(a[real], b[real], atol=1e-6)


@pytest.mark.parametrize(("side", "tolerance"), [("right", 1e-9), ("left", 1e-4)])
def test_a_batch_is_its_rows_one_by_one(model, side, tolerance):
    inputs = tiny_vila_inputs(3, side)
    with torch.no_grad():
        together = model(**inputs).logits
        start = 0
        for i, mask in enumerate(inputs["attention_mask"].bool()):
            ids = inputs["input_ids"][i][mask][None]
            count = int((ids == IMAGE).sum()) // VISUAL
            alone = model(input_ids=ids, pixel_values=inputs["pixel_values"][start : start + count]).logits[0]
            start += count
            assert torch.allclose(together[i][mask], alone, atol=tolerance)


@pytest.mark.parametrize("beams", [1, 3])
def test_given_features_take_the_encoders_place_bit_for_bit(model, beams):
    inputs = tiny_vila_inputs(3)
    pixels = inputs.pop("pixel_values")
    features = model.model.get_image_features(pixels, return_dict=True).pooler_output
    assert [tuple(x.shape) for x in features] == [(VISUAL, 32)] * 4

    def given() -> dict:
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=list(features))}}

    with torch.no_grad():
        assert torch.equal(model(**inputs, pixel_values=pixels).logits, model(**inputs, **given()).logits)
    settings = {"max_new_tokens": 5, "do_sample": False, "num_beams": beams}
    first = model.generate(**inputs, pixel_values=pixels, **settings)
    assert torch.equal(first, model.generate(**inputs, **given(), **settings))


def test_embeddings_may_take_the_ids_place(model):
    inputs = tiny_vila_inputs(2)
    ids = inputs.pop("input_ids")
    with torch.no_grad():
        embeddings = model.get_input_embeddings()(ids)
        assert torch.equal(model(inputs_embeds=embeddings, **inputs).logits, model(input_ids=ids, **inputs).logits)


def test_generation_with_a_cache_is_recomputation(model):
    inputs = tiny_vila_inputs(3)
    pixels, ids, mask = inputs["pixel_values"], inputs["input_ids"], inputs["attention_mask"]
    assert model.generation_config.suppress_tokens == [IMAGE]
    generated = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    for _ in range(4):
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, pixel_values=pixels).logits
        logits[..., IMAGE] = -torch.inf
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    assert torch.equal(generated, ids)


def test_a_cache_continues_over_turns_with_new_images(model):
    first, more = tiny_vila_inputs(2), tiny_vila_inputs(1, seed=1)
    cache = DynamicCache(config=model.config)
    settings = {"max_new_tokens": 3, "do_sample": False}
    answered = model.generate(**first, past_key_values=cache, **settings)
    ids = torch.cat([answered, more["input_ids"].expand(2, -1)], 1)
    mask = torch.cat([first["attention_mask"], torch.ones_like(ids[:, first["input_ids"].shape[1] :])], 1)
    rest = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
    features = [
        model.model.get_image_features(x, return_dict=True).pooler_output[0] for x in [more["pixel_values"]] * 2
    ]
    given = {"image": BaseModelOutputWithPooling(pooler_output=features)}
    continued = model.generate(**rest, mm_encoder_outputs=given, past_key_values=cache, **settings)
    everything = torch.cat([first["pixel_values"], *[more["pixel_values"]] * 2])[[0, 3, 1, 2, 4]]
    assert torch.equal(continued, model.generate(**rest, pixel_values=everything, **settings))


def test_labels_give_a_loss_whose_gradients_reach_everything():
    model, inputs = tiny_vila(), tiny_vila_inputs(2)
    labels = inputs["input_ids"].masked_fill((inputs["input_ids"] == IMAGE) | (inputs["attention_mask"] == 0), -100)
    output = model(**inputs, labels=labels)
    scores = output.logits[:, :-1].flatten(0, 1).float()
    assert torch.isclose(output.loss, torch.nn.functional.cross_entropy(scores, labels[:, 1:].flatten()))
    output.loss.backward()
    unread = ("vision_tower.post_layernorm", "vision_tower.encoder.layers.2.")
    for name, parameter in model.named_parameters():
        assert any(x in name for x in unread) or parameter.grad.abs().sum() > 0, name
    last = model(**inputs, logits_to_keep=2).logits
    assert torch.equal(last, output.logits[:, -2:])


def test_disagreeing_inputs_are_refused(model):
    inputs = tiny_vila_inputs(2)
    with pytest.raises(ValueError, match="18 image features for 27 placeholders"):
        model(**inputs | {"pixel_values": inputs["pixel_values"][:2]})
    with pytest.raises(ValueError, match="exactly one of input_ids"):
        model(pixel_values=inputs["pixel_values"])
    with pytest.raises(ValueError, match="not both"):
        model(**inputs, mm_encoder_outputs={})


def test_an_attention_function_sees_every_layer():
    seen = []

    def spy(module, query, key, value, mask, **kwargs):
        seen.append(module)
        assert kwargs["scaling"] == query.shape[-1] ** -0.5
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)

    AttentionInterface.register("vila_spy", spy)
    try:
        model = tiny_vila()
        wanted = model(**tiny_vila_inputs()).logits
        assert model.config._attn_implementation == "sdpa"
        model.set_attn_implementation("vila_spy")
        assert torch.equal(model(**tiny_vila_inputs()).logits, wanted)
    finally:
        del AttentionInterface._global_mapping["vila_spy"]
    layers = [*model.model.vision_tower.encoder.layers, *model.model.language_model.layers]
    assert seen == [layer.self_attn for layer in layers]
