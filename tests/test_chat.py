from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from pinhole import Chat, MetaCompress, Sample, Session, compress
from pinhole.scenes.build import CHAT_TEMPLATE, build_model, build_processor
from pinhole.scenes.world import make_scene, render

TURNS = [("what color is the circle?", [0]), ("which digit is on the object?", []), ("and is this red?", [1, 2])]
VISUAL = 144


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def model():
    """Random weights large enough that the answer depends on everything before it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model().double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise * 1.5 / parameter.shape[-1] ** 0.5)
    return model


@pytest.fixture(scope="module")
def pictures():
    return [render(make_scene("validation", i)) for i in range(3)]


@pytest.fixture(scope="module")
def plain_words(processor):
    """Forbids what a decoded answer cannot show again when it is read as text: special tokens and punctuation."""
    names = ["<pad>", "<s>", "<unk>", "USER:", "ASSISTANT:", "?", ","]
    return {"suppress_tokens": processor.tokenizer.convert_tokens_to_ids(names), "max_new_tokens": 4}


def methods() -> dict:
    return {"all": None, "sample": Sample(keep=0.1), "metacompress": MetaCompress.create(192, keep=0.25).double()}


class Fail(LogitsProcessor):
    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, input_ids, scores):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the third step failed")
        return scores


@pytest.mark.parametrize("method", methods().values(), ids=methods().keys())
@pytest.mark.parametrize("ended", [True, False], ids=["ended", "cut"])
def test_three_turns_equal_reading_the_whole_dialogue_each_time(model, processor, pictures, plain_words, method, ended):
    end = processor.tokenizer.eos_token_id
    how = {**plain_words, "forced_eos_token_id": end} if ended else plain_words
    how = how if ended else {**how, "suppress_tokens": [*how["suppress_tokens"], end]}
    chat = Chat(model, processor, method)
    messages, shown, answers = [], [], []
    for question, which in TURNS:
        answer = chat.ask(question, [pictures[i] for i in which], **how)
        answers.append(answer)
        shown += [pictures[i] for i in which]
        parts = [{"type": "image"} for _ in which]
        messages.append({"role": "user", "content": [*parts, {"type": "text", "text": question}]})
        whole = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[whole], images=shown, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].double()
        length = inputs["input_ids"].shape[1]
        banned = [*how["suppress_tokens"], model.config.image_token_id]
        with compress(model, method or Sample(keep=1.0)):
            output = model.generate(**inputs, **{**how, "suppress_tokens": banned}, do_sample=False)
        assert processor.tokenizer.decode(output[0, length:], skip_special_tokens=True) == answer
        kept = VISUAL if method is None else method.count(VISUAL)
        assert chat.context_length == output.shape[1] - len(shown) * (VISUAL - kept)
        assert [r.m for r in chat.reductions] == [kept] * len(shown)
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    assert [len(answer.split()) for answer in answers] == [3 if ended else 4] * 3
    assert len(set(answers)) > 1, "a model that always says the same would hide mistakes"


def test_the_stream_says_what_ask_says(model, processor, pictures):
    asked, streamed = Chat(model, processor, Sample(keep=0.1)), Chat(model, processor, Sample(keep=0.1))
    for question, which in TURNS:
        images = [pictures[i] for i in which]
        pieces = list(streamed.stream(question, images, max_new_tokens=5))
        assert len(pieces) > 1
        assert "".join(pieces).strip() == asked.ask(question, images, max_new_tokens=5)
    assert streamed.context_length == asked.context_length


def test_an_error_inside_the_stream_comes_out_and_the_chat_goes_on(model, processor, pictures):
    control, chat = Chat(model, processor, Sample(keep=0.1)), Chat(model, processor, Sample(keep=0.1))
    for question, which in TURNS:
        images = [pictures[i] for i in which]
        with pytest.raises(RuntimeError, match="third step"):
            list(chat.stream(question, images, max_new_tokens=5, logits_processor=LogitsProcessorList([Fail(2)])))
        with pytest.raises(RuntimeError, match="third step"):
            chat.ask(question, images, max_new_tokens=5, logits_processor=LogitsProcessorList([Fail(2)]))
        assert chat.ask(question, images, max_new_tokens=5) == control.ask(question, images, max_new_tokens=5)


def test_a_stream_that_nobody_reads_to_its_end_leaves_a_whole_turn(model, processor, pictures):
    control, chat = Chat(model, processor, Sample(keep=0.1)), Chat(model, processor, Sample(keep=0.1))
    control.ask(*TURNS[0][:1], [pictures[0]], max_new_tokens=5)
    stream = chat.stream(TURNS[0][0], [pictures[0]], max_new_tokens=5)
    next(stream)
    stream.close()
    assert chat.context_length == control.context_length
    assert chat.ask("and where?", max_new_tokens=5) == control.ask("and where?", max_new_tokens=5)


def test_an_image_mark_in_the_question_is_an_error_and_changes_nothing(model, processor, pictures):
    control, chat = Chat(model, processor), Chat(model, processor)
    with pytest.raises(ValueError, match="the question contains '<image>'"):
        chat.ask("what is in <image> here?", [pictures[0]])
    assert chat.context_length == 0
    for talk in (control, chat):
        talk.ask("what color?", [pictures[0]], max_new_tokens=2)
    with pytest.raises(ValueError, match="the question contains '<image>'"):
        list(chat.stream("<image> and this?"))
    assert chat.ask("where?", max_new_tokens=3) == control.ask("where?", max_new_tokens=3)


def test_images_that_the_template_does_not_print_are_an_error(model, pictures):
    processor = build_processor()
    processor.chat_template = CHAT_TEMPLATE.replace("<image>\n", "")
    with pytest.raises(ValueError, match="chat template printed 0 '<image>' for 1 image"):
        Chat(model, processor).ask("what color?", [pictures[0]])


def test_an_image_that_cannot_be_read_changes_nothing(model, processor, pictures, tmp_path):
    chat = Chat(model, processor)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        chat.ask("what color?", [tmp_path / "none.png"])
    assert (chat.context_length, chat.reductions) == (0, [])


def test_a_single_pixel_is_an_image_like_any_other(model, processor):
    chat = Chat(model, processor, Sample(keep=0.1))
    chat.ask("what color is this?", [Image.new("RGB", (1, 1), "red")], max_new_tokens=2)
    assert [r.n for r in chat.reductions] == [VISUAL]


def test_a_dialogue_without_images_needs_none(model, processor):
    chat = Chat(model, processor, Sample(keep=0.1))
    assert chat.ask("what is red?", max_new_tokens=3)
    assert chat.reductions == []


def test_the_limit_of_an_answer_is_the_chats_unless_the_turn_says_otherwise(model, processor):
    chat = Chat(model, processor, max_new_tokens=3)
    prompt = len(processor(text=["USER: what? ASSISTANT:"]).input_ids[0])
    banned = [processor.tokenizer.eos_token_id]
    chat.ask("what?", suppress_tokens=banned)
    assert chat.context_length == prompt + 3
    chat = Chat(model, processor, max_new_tokens=3)
    chat.ask("what?", suppress_tokens=banned, max_new_tokens=1)
    assert chat.context_length == prompt + 1


def test_a_placeholder_is_never_said(model, processor):
    chat = Chat(model, processor)
    image = model.config.image_token_id
    chat.ask("what?", max_new_tokens=3, sequence_bias={(image,): 1e6})
    assert image not in chat._session.context.input_ids


class Script(LogitsProcessor):
    """Makes the model say given tokens."""

    def __init__(self, ids: list[int]) -> None:
        self.left = iter(ids)

    def __call__(self, input_ids, scores):
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([next(self.left)]), 0.0)


def test_an_end_token_given_for_a_turn_is_not_part_of_the_answer(model, processor):
    chat = Chat(model, processor, max_new_tokens=5)
    ids = processor.tokenizer("red circle left", add_special_tokens=False).input_ids
    script = LogitsProcessorList([Script(ids)])
    assert chat.ask("what?", eos_token_id=ids[1], logits_processor=script) == "red"


def test_stop_strings_are_refused_for_a_batch(model, processor):
    inputs = processor(text=["USER: what? ASSISTANT:"] * 2, return_tensors="pt")
    session = Session(model)
    with pytest.raises(ValueError, match="stop strings end one dialogue at a time"):
        session.ask(inputs, max_new_tokens=2, stop_strings=["red"], tokenizer=processor.tokenizer)
    assert session.context.length == 0


def test_a_model_without_videos_refuses_them_and_the_chat_goes_on(model, processor, pictures):
    chat = Chat(model, processor)
    with pytest.raises(ValueError, match="this model reads no videos"):
        chat.ask("what?", videos=[[pictures[0]] * 2])
    assert chat.context_length == 0
    assert chat.ask("what?", [pictures[0]], max_new_tokens=2)
