"""The processor of VILA-1.5: conversations, marks and pictures."""

from __future__ import annotations

import json

import pytest
import torch

from models.vila_original import CHECKPOINTS, GOLDEN, write_original
from models.vila_tiny import picture
from pinhole.models.vila import (
    CHAT_TEMPLATES,
    VilaForConditionalGeneration,
    VilaImageProcessor,
    VilaProcessor,
    load_original,
)
from pinhole.transcript import Transcript

TEXTS = json.loads((GOLDEN / "vila.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict[str, tuple[VilaForConditionalGeneration, VilaProcessor]]:
    root = tmp_path_factory.mktemp("vila")
    return {kind: load_original(write_original(root / kind, kind)) for kind in CHECKPOINTS}


@pytest.mark.parametrize("name", list(CHAT_TEMPLATES))
def test_chat_templates_print_what_the_public_code_prints(loaded, name):
    processor = loaded["llama_3"][1]
    question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    dialogue = [
        question,
        {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "It barks."},
    ]
    printed = [
        processor.apply_chat_template(
            dialogue[:n], chat_template=CHAT_TEMPLATES[name], add_generation_prompt=n % 2 == 1
        )
        for n in (1, 3, 4)
    ]
    assert printed == TEXTS["conversations"][name]


def test_images_may_stand_anywhere_and_a_system_message_replaces_the_default(loaded):
    processor = loaded["vicuna"][1]
    parts = [{"type": "text", "text": "This "}, {"type": "image"}, {"type": "text", "text": "or that?"}]
    dialogue = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    printed = processor.apply_chat_template(dialogue, add_generation_prompt=True)
    assert printed == "Be brief. USER: This <image>\nor that? ASSISTANT:"


def test_placeholders_are_as_many_as_features_in_a_padded_batch(loaded):
    for model, processor in loaded.values():
        texts = ["<image>\n<image>\nWhich is larger?", "Nothing to see.", "One: <image>"]
        images = [picture(40, 30), picture(20, 50, 1), picture(33, 33, 2)]
        for side in ("left", "right"):
            inputs = processor(images=images, text=texts, padding=True, padding_side=side, return_tensors="pt")
            count = (inputs["input_ids"] == processor.image_token_id).sum(1).tolist()
            assert count == [2 * processor.image_seq_length, 0, processor.image_seq_length]
            assert inputs["attention_mask"][1, 0 if side == "left" else -1] == 0
            assert [x.shape[0] for x in model.get_image_features(inputs["pixel_values"]).pooler_output] == [
                processor.image_seq_length
            ] * 3


def test_marks_and_images_must_agree(loaded):
    processor = loaded["vicuna"][1]
    with pytest.raises(ValueError, match=r"2 image.s. for 1 '<image>' in the text"):
        processor(images=[picture(9, 9)] * 2, text="<image> one")
    with pytest.raises(ValueError, match=r"0 image.s. for 1"):
        processor(text="<image> none")
    with pytest.raises(ValueError, match="truncation"):
        processor(images=picture(9, 9), text="<image> one", truncation=True, max_length=5)


def test_words_after_an_image_start_as_a_text_starts(loaded):
    for _, processor in loaded.values():
        tokenizer = processor.tokenizer
        ids = processor(images=[picture(9, 9)] * 2, text="<image><image>are")["input_ids"][0]
        run = [processor.image_token_id] * 2 * processor.image_seq_length
        assert ids == [tokenizer.bos_token_id, *run, *tokenizer.encode("are", add_special_tokens=False)]
    assert loaded["vicuna"][1].tokenizer.tokenize("are") == ["▁are"]


def test_padding_to_a_square_centres_the_picture():
    processor = VilaImageProcessor(size={"height": 6, "width": 6}, image_aspect_ratio="pad")
    white = picture(6, 2).point(lambda _: 255)
    rows = processor(white, return_tensors="pt")["pixel_values"][0].mean(0).mean(1)
    grey = 127 / 255 * 2 - 1
    assert torch.allclose(rows, torch.tensor([grey, grey, 1, 1, grey, grey]), atol=1e-6)


def test_turns_of_a_dialogue_are_told_apart(loaded):
    transcript = Transcript(loaded["vicuna"][1])
    assert transcript.question("What is it?", images=2).count("<image>\n") == 2
    transcript.answer("A dog.", "</s>")
    assert transcript.question("Why?") == "USER: Why? ASSISTANT:"
