"""Named architectures: published sizes, the pictures' tokens, and random weights that are fit to run."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForImageTextToText

from pinhole.benchmark.random_weights import random_model
from pinhole.benchmark.shapes import SHAPES, parse_shape
from pinhole.benchmark.subject import Lengths, subject_of_shape
from pinhole.families import family_of
from pinhole.session import Session

META = torch.device("meta")
PUBLISHED = {
    "llava-1.5-7b": (7_063_427_072, 576),
    "llava-1.5-13b": (13_351_494_656, 576),
    "llava-next-7b": (7_063_431_168, 2928),
    "llava-onevision-7b": (8_029_890_080, 3699),
    "qwen2-vl-7b": (8_291_375_616, 1296),
}
"""Parameters of the checkpoints' weights, and the visual tokens of the picture."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_models(name):
    model = random_model(SHAPES[name].at_depth(None), torch.bfloat16, META)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name][0]
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_picture_becomes_as_many_tokens_as_are_said(name):
    shape = SHAPES[name]
    assert shape.visual == PUBLISHED[name][1]
    model = random_model(shape.at_depth(1), torch.float32, META)
    pixels = {
        key: value.to(META) for key, value in shape.picture(torch.Generator()).items() if value.is_floating_point()
    }
    if "image_grid_thw" in shape.picture(torch.Generator()):  # its encoder reads numbers out of tensors
        [pixels] = pixels.values()
        assert len(pixels) == shape.visual * model.config.vision_config.spatial_merge_size**2
        assert pixels.shape[1] == model.base_model.visual.patch_embed.proj.weight[0].numel()
        return
    sizes = {key: value for key, value in shape.picture(torch.Generator()).items() if key not in pixels}
    output = model.base_model.get_image_features(**pixels, **sizes, return_dict=True)
    assert [len(features) for features in output.pooler_output] == [shape.visual]


def test_the_depth_that_is_cut_is_the_llms():
    whole, cut = (random_model(SHAPES["llava-1.5-7b"].at_depth(layers), torch.bfloat16, META) for layers in (None, 2))
    layers = [len(family_of(model).language_model.layers) for model in (whole, cut)]
    towers = [len(model.base_model.vision_tower.encoder.layers) for model in (whole, cut)]
    assert (layers, towers) == ([32, 2], [24, 24])


def test_random_weights_have_the_buffers_of_a_model_that_was_built_as_usual():
    config = SHAPES["tiny"].at_depth(2)
    usual = dict(AutoModelForImageTextToText.from_config(config).named_buffers())
    ours = dict(random_model(config, torch.bfloat16, torch.device("cpu")).named_buffers())
    assert usual.keys() == ours.keys()
    for name, buffer in usual.items():
        assert torch.equal(buffer, ours[name]), name


def test_random_weights_are_noise_of_their_own_and_norms_are_one():
    model = random_model(SHAPES["tiny"].at_depth(2), torch.float32, torch.device("cpu"))
    attention = family_of(model).language_model.layers[0].self_attn
    assert not torch.equal(attention.q_proj.weight, attention.k_proj.weight)
    assert attention.q_proj.weight.std().item() == pytest.approx(128**-0.5, rel=0.05)
    assert torch.equal(family_of(model).language_model.norm.weight, torch.ones(128))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not model.training


def test_a_model_of_a_shape_answers():
    subject = subject_of_shape("tiny:layers=2", Lengths(turns=2, answer=3), device="cpu")
    assert int((subject.first["input_ids"] == subject.family.token_id("image")).sum()) == SHAPES["tiny"].visual
    session = Session(subject.model)
    for inputs in (subject.first, *subject.later):
        assert session.ask(inputs, max_new_tokens=3, do_sample=False).shape == (1, 3)


def test_the_prompt_has_the_lengths_that_were_asked_for():
    lengths = Lengths(turns=3, text=11, later=5, answer=4)
    subject = subject_of_shape("tiny:layers=1", lengths, device="cpu")
    assert subject.first["input_ids"].shape[1] == SHAPES["tiny"].visual + 11
    assert [inputs["input_ids"].shape[1] for inputs in subject.later] == [5, 5]


def test_a_model_that_remembers_nothing_reads_what_a_session_has_heard():
    subject = subject_of_shape("tiny:layers=1", Lengths(turns=3, answer=4), device="cpu")
    session = Session(subject.model)
    for turn, inputs in enumerate((subject.first, *subject.later)):
        heard = session.context.length
        session.ask(inputs, max_new_tokens=4, do_sample=False)
        whole = subject.whole(turn)
        assert whole["input_ids"].shape == whole["attention_mask"].shape == (1, heard + inputs["input_ids"].shape[1])
        assert torch.equal(whole["input_ids"][:, heard:], inputs["input_ids"])
        assert torch.equal(whole["pixel_values"], subject.first["pixel_values"])


@pytest.mark.parametrize("text", ["embedded", "some/folder", "owner/name", "./here:there"])
def test_other_names_are_no_shapes(text):
    assert parse_shape(text) is None
    assert subject_of_shape(text, Lengths()) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llava-1.5-8b:layers=2", "no architecture 'llava-1.5-8b'; did you mean 'llava-1.5-7b'?"),
        ("tiny:depth=2", "written tiny:layers=2"),
        ("tiny:layers=0", "written tiny:layers=2"),
        ("tiny:", "written tiny:layers=2"),
    ],
)
def test_a_shape_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        parse_shape(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "no dtype 'int8': give auto, float32"),
        ({"dtype": "tensor"}, "no dtype 'tensor'"),
        ({"device": "nowhere"}, "no device 'nowhere' here"),
        ({"attention": "flash"}, "no attention implementation 'flash': give one of sdpa"),
    ],
)
def test_options_that_there_are_not_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        subject_of_shape("tiny", Lengths(), **options)


@pytest.mark.parametrize("lengths", [{"turns": 0}, {"text": 7}, {"later": 0}, {"answer": 1}])
def test_a_dialogue_that_is_too_short_is_refused(lengths):
    with pytest.raises(ValueError, match="a dialogue has at least 1 turn, 8 text tokens"):
        Lengths(**lengths)
