"""Which models are supported, what is said about the others, and what some families have of their own."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from transformers import CONFIG_MAPPING

import zoo
from pinhole import Session
from pinhole.families import FAMILIES, UNSUPPORTED, check_supported, family_of
from reference import Context
from zoo.gemma import gemma3
from zoo.idefics import BREAK, FAKE, OVERVIEW, TILE, written
from zoo.parts import IMAGE, START

TOLERANCE = 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_what_has_a_family_is_supported(family):
    check_supported(family)
    assert family not in UNSUPPORTED


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_a_model_type_that_fails_the_contract_is_refused_with_the_reason(kind):
    assert kind in CONFIG_MAPPING
    with pytest.raises(ValueError, match=f"^no support for models of type '{kind}': (its|transformers) "):
        check_supported(kind)


def test_another_model_type_is_refused_with_the_list_of_those_that_are_not():
    with pytest.raises(
        ValueError, match=r"no support for models of type 'bert'; supported types: aya_vision, .*gemma3"
    ):
        check_supported("bert")


def tiles(*pictures: list[int]) -> list[int]:
    """Lengths of the units that a prompt with these pictures has."""
    family = family_of(zoo.model_of("smolvlm"))
    ids = torch.tensor([[5, *[id for picture in pictures for id in picture], 6]])
    return family.lengths("image", {"input_ids": ids}, [])


def test_smolvlm_pictures_that_touch_are_told_apart():
    assert tiles(written(2, 2, 4), written(0, 0, 4), written(0, 0, 4), written(1, 2, 4)) == [20, 4, 4, 12]


def test_smolvlm_pictures_with_text_between_are_told_apart():
    assert tiles([*written(3, 1, 4), 7, BREAK], [8, *written(0, 0, 4)]) == [16, 4]


def test_smolvlm_line_breaks_that_are_one_token_change_nothing():
    row = [FAKE, TILE, *[IMAGE] * 4, FAKE, TILE + 1, *[IMAGE] * 4]
    picture = [*row, BREAK, *row, BREAK + 20, FAKE, OVERVIEW, *[IMAGE] * 4, FAKE]
    assert tiles(picture, picture) == [20, 20]


@torch.no_grad()
def test_smolvlm_tiles_are_one_unit_whatever_fills_the_batch_up():
    model = zoo.model_of("smolvlm")
    prompts = [zoo.row("smolvlm", model, seed=seed, count=2) for seed in range(2)]
    alone = [visual.tokens for prompt in prompts for visual in family_of(model).encode(prompt)[0]]
    batch = [visual.tokens for visual in family_of(model).encode(zoo.together(prompts))[0]]
    assert len({tokens.n for tokens in alone}) > 1
    for one, other in zip(alone, batch, strict=True):
        assert one.n == 4 * len(one.pixels)
        assert torch.equal(one.pixels, other.pixels)
        assert one.fingerprint == other.fingerprint


@torch.no_grad()
def test_mistral_pixels_are_the_pictures_own():
    model = zoo.model_of("mistral3")
    inputs = zoo.row("mistral3", model, count=2)
    found = [tuple(visual.tokens.pixels.shape[1:]) for visual in family_of(model).encode(inputs)[0]]
    assert found == [tuple(size) for size in inputs["image_sizes"].tolist()]


@pytest.mark.parametrize("family", ["glm4v", "glm4v_moe", "glm46v"])
def test_glm_positions_do_not_need_the_token_types(family):
    model = zoo.model_of(family)
    for modality in ("image", "video"):
        inputs = zoo.row(family, model, modality)
        expected = family_of(model).full_positions(inputs, inputs["attention_mask"])
        del inputs["mm_token_type_ids"]
        assert torch.equal(family_of(model).full_positions(inputs, inputs["attention_mask"]), expected)


@torch.no_grad()
def test_gemma_reads_through_its_windows_turn_by_turn():
    model = gemma3(window=24)
    method = zoo.method("sample", 0.5)
    session, context = Session(model, method), Context(model)
    for turn in (zoo.row("gemma3", model), zoo.words(16, seed=2), zoo.row("gemma3", model, seed=4)):
        [answer] = session.ask(turn, max_new_tokens=2, do_sample=False).tolist()
        context.read(turn, method)
        for token in answer:
            logits = context.logits()[-1]
            assert logits.max() - logits[token] < TOLERANCE
            context.say(token)
    assert len(context.tokens) > 2 * 24


@pytest.mark.parametrize(("family", "width"), [("qwen3_vl_moe", 2 * 16), ("glm4v_moe", 3 * 16), ("glm4v", 64)])
def test_a_token_costs_the_experts_that_it_goes_through(family, width):
    assert family_of(zoo.model_of(family)).shape.mlp_width == width


def test_deepseek_boxes_reach_beyond_the_picture_that_was_padded():
    model = zoo.model_of("deepseek_vl")
    inputs = zoo.row("deepseek_vl", model)
    [visual], _ = family_of(model).encode(inputs)
    assert visual.tokens.layout.views[0].box is None
    [visual], _ = family_of(model).encode({**inputs, "image_sizes": torch.tensor([[24, 48]])})
    assert visual.tokens.layout.views[0].box == (-0.5, 0.0, 1.5, 1.0)


@torch.no_grad()
def test_ovis_marks_keep_their_embeddings_when_tokens_go():
    model = zoo.model_of("ovis2")
    inputs = zoo.row("ovis2", model)
    plain = Context(model).read(inputs, zoo.method("full"))
    few = Context(model).read(inputs, zoo.method("sample", 0.5))
    marks = [token.embedding for token in plain.tokens if not token.visual]
    assert isinstance(model, hf.Ovis2ForConditionalGeneration)
    assert START in inputs["input_ids"]
    for one, other in zip(marks, (token.embedding for token in few.tokens if not token.visual), strict=True):
        assert torch.equal(one, other)


def test_a_picture_thinner_than_a_patch_is_its_overview_and_newlines():
    """LLaVA-NeXT cuts all columns of the tiles off."""
    inputs = {"pixel_values": torch.zeros(1, 3, 3, 48, 48), "image_sizes": torch.tensor([[220, 24]])}
    [layout] = family_of(zoo.model_of("llava_next")).layouts("image", inputs, [24])
    assert layout.n == 24
    assert layout.separators.sum() == 8
    assert layout.boxes().isnan().any(1).tolist() == [False] * 16 + [True] * 8
