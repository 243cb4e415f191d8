"""Training sequences: the tokens a chat would feed, with labels on the answers and nowhere else."""

from __future__ import annotations

import pytest
import torch

from checkpoints import PUBLISHED, opened, picture
from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.encoding import encode_turn
from pinhole.session import Session
from pinhole.training.examples import batch_of, order
from pinhole.transcript import Transcript


def test_labels_are_the_answers_and_the_token_that_ends_each(embedded, scenes):
    model, processor = embedded
    dialogues = read_dialogues(scenes)[:3]
    batch = batch_of(model, processor, dialogues)
    for row, dialogue in enumerate(dialogues):
        labels = batch["labels"][row]
        said = processor.tokenizer.decode(labels[labels != -100]).split("</s>")
        assert [text.strip() for text in said] == [*(turn.answer for turn in dialogue.turns), ""]
        assert torch.equal(labels[labels != -100], batch["input_ids"][row][labels != -100])


def test_the_sequence_is_the_rendered_dialogue(embedded, scenes):
    model, processor = embedded
    dialogue = read_dialogues(scenes)[0]
    batch = batch_of(model, processor, [dialogue])
    messages = []
    for i, turn in enumerate(dialogue.turns):
        parts = [{"type": "image"}] if i == 0 else []
        messages.append({"role": "user", "content": [*parts, {"type": "text", "text": turn.question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    text = processor.apply_chat_template(messages, tokenize=False)
    whole = processor(text=text, images=dialogue.load_images(), return_tensors="pt")
    assert torch.equal(batch["input_ids"], whole["input_ids"])


def test_the_first_prompt_is_what_a_session_reads(embedded, scenes):
    model, processor = embedded
    dialogue = read_dialogues(scenes)[0]
    batch = batch_of(model, processor, [dialogue])
    session = Session(model)
    text = Transcript(processor).question(dialogue.turns[0].question, 1)
    session.ask(encode_turn(model, processor, [text], dialogue.load_images()), max_new_tokens=1, do_sample=False)
    prompt = int((batch["labels"][0] != -100).nonzero()[0])
    assert torch.equal(session.context.input_ids[0, :-1], batch["input_ids"][0, :prompt])


def test_unlike_lengths_are_padded_on_the_right(embedded, scenes):
    model, processor = embedded
    dialogues = read_dialogues(scenes)[:4]
    batch = batch_of(model, processor, dialogues)
    for row, dialogue in enumerate(dialogues):
        alone = batch_of(model, processor, [dialogue])["input_ids"][0]
        assert torch.equal(batch["input_ids"][row][: len(alone)], alone)
        assert not batch["attention_mask"][row][len(alone) :].any()
        assert (batch["labels"][row][len(alone) :] == -100).all()


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (7, 7), (12, 8)])
def test_an_epoch_visits_everything_once_in_an_order_of_its_own(count, batch):
    first, second = list(order(count, batch, 0, 0)), list(order(count, batch, 1, 0))
    assert sorted(i for ids in first for i in ids) == list(range(count))
    assert first == list(order(count, batch, 0, 0))
    assert first != second
    assert first != list(order(count, batch, 0, 1))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers' own
@pytest.mark.parametrize("family", [name for name, published in PUBLISHED.items() if not published.needs_torchvision])
def test_on_every_family_the_answers_and_their_ends_are_what_a_chat_says(family):
    model, processor = opened(family)
    turns = (Turn("What colour is it?", "red box"), Turn("How many?", "two"), Turn("Which?", "blue circles"))
    dialogues = [Dialogue("a", (picture(0),), turns), Dialogue("b", (picture(1), picture(2)), turns[:2])]
    batch = batch_of(model, processor, dialogues)
    published, image = PUBLISHED[family], model.config.image_token_id
    for row, dialogue in enumerate(dialogues):
        ids, labels = batch["input_ids"][row], batch["labels"][row]
        said = processor.tokenizer.decode(labels[labels != -100])
        before = published.before_answer if published.before_answer.strip() else ""
        expected = "".join(before + turn.answer + published.end for turn in dialogue.turns)
        assert said.replace(" ", "") == expected.replace(" ", "")
        text, first = Transcript(processor), True
        pieces = []
        for turn in dialogue.turns:
            question = text.question(turn.question, len(dialogue.images) if first else 0)
            pictures = list(dialogue.images) if first else None
            pieces += encode_turn(model, processor, [question], pictures, first)["input_ids"][0].tolist()
            answer = text.written(turn.answer) + published.end
            pieces += processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
            text.answer(turn.answer, published.end)
            first = False
        assert ids[: len(pieces)].tolist() == pieces
        for name in {"mm_token_type_ids", "token_type_ids"} & batch.keys():
            assert torch.equal(batch[name][row], (ids == image).long())
