"""The LVLM that Pinhole ships: small, of the standard classes, and right on pictures it has not seen."""

from collections import Counter

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from pinhole.data import read_dialogues
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.families import family_of
from pinhole.scenes import checkpoint
from pinhole.scenes.build import build_model, build_processor
from pinhole.scenes.dataset import write_dialogues
from pinhole.scenes.questions import KINDS


def test_it_is_small_and_loads_as_any_checkpoint_does():
    assert sum(file.stat().st_size for file in checkpoint().iterdir()) <= 12e6
    model = AutoModelForImageTextToText.from_pretrained(checkpoint())
    assert type(model) is LlavaForConditionalGeneration
    assert type(AutoProcessor.from_pretrained(checkpoint())) is LlavaProcessor


def test_it_is_what_the_builder_builds(embedded):
    model, processor = embedded
    fresh = {name: tensor.shape for name, tensor in build_model().state_dict().items()}
    assert fresh == {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert processor.tokenizer.get_vocab() == build_processor().tokenizer.get_vocab()
    assert processor.chat_template == build_processor().chat_template


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held-out")
    write_dialogues(folder, "test", 300, show_progress=False)
    return read_dialogues(folder)


def test_uncompressed_it_answers_95_percent_of_the_test_turns_and_no_kind_below_90(embedded, held_out):
    model, processor = embedded
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
    assert right.total() / asked.total() >= 0.95
    assert set(asked) == set(KINDS)
    assert min(right[kind] / asked[kind] for kind in KINDS) >= 0.90, (right, asked)
