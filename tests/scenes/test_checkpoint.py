"""The LVLMs that Pinhole ships: small, of the standard classes, and right on pictures they have not seen."""

from collections import Counter

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from pinhole.data import read_dialogues
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.families import family_of
from pinhole.loading import SHIPPED, load
from pinhole.scenes import checkpoint
from pinhole.scenes.build import SIGNS_VOCABULARY, VOCABULARY, build_model, build_processor
from pinhole.scenes.dataset import write_dialogues
from pinhole.scenes.worlds import WORLDS

VOCABULARIES = {"embedded": VOCABULARY, "embedded-signs": SIGNS_VOCABULARY}


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_loads_as_any_checkpoint_does(name):
    folder = checkpoint(SHIPPED[name])
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 12e6
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(model) is LlavaForConditionalGeneration
    assert model.dtype == torch.float32
    assert type(AutoProcessor.from_pretrained(folder)) is LlavaProcessor


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_what_the_builder_builds(name):
    model, processor = load(name, device="cpu")
    fresh = {name: tensor.shape for name, tensor in build_model(VOCABULARIES[name]).state_dict().items()}
    assert fresh == {name: tensor.shape for name, tensor in model.state_dict().items()}
    built = build_processor(VOCABULARIES[name])
    assert processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert processor.chat_template == built.chat_template


def test_words_of_the_first_world_have_the_same_ids_in_both():
    assert SIGNS_VOCABULARY[: len(VOCABULARY)] == VOCABULARY
    assert len(set(SIGNS_VOCABULARY)) == len(SIGNS_VOCABULARY)


@pytest.mark.parametrize(
    ("name", "world", "overall", "each"),
    [
        ("embedded", "shapes", 0.95, 0.90),
        ("embedded-signs", "signs", 0.93, 0.85),
        ("embedded-signs", "shapes", 0.95, 0.85),
    ],
)
def test_uncompressed_it_answers_test_turns_of_its_worlds_and_no_kind_badly(name, world, overall, each, tmp_path):
    held_out = read_dialogues(write_dialogues(tmp_path, "test", 300, show_progress=False, world=world))
    model, processor = load(name, device="cpu")
    (full,) = contenders(["full"], [1.0], family_of(model).shape)
    right, asked = Counter(), Counter()
    with torch.inference_mode():
        for start in range(0, len(held_out), 50):
            batch = held_out[start : start + 50]
            for dialogue, record in zip(batch, hold(model, processor, full, batch, EvalSettings()), strict=True):
                for turn, correct in zip(dialogue.turns, record.correct, strict=True):
                    asked[turn.kind] += 1
                    right[turn.kind] += correct
    assert asked.total() == 900
    assert right.total() / asked.total() >= overall, (right, asked)
    assert set(asked) == set(WORLDS[world].kinds)
    assert min(right[kind] / asked[kind] for kind in asked) >= each, (right, asked)
