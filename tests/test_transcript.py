from __future__ import annotations

import pytest
import torch

from checkpoints import PUBLISHED
from pinhole.encoding import answer_end, decode_answers, encode_turn
from pinhole.scenes.build import CHAT_TEMPLATE, build_model, build_processor
from pinhole.transcript import Transcript

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_END = CHAT_TEMPLATE.replace("</s>", "")
SYSTEM = "{{ bos_token }}You see pictures. " + CHAT_TEMPLATE
LLM = (  # as LLMs have it: content is text, and anything else is an error
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"
)
CARELESS = LLM.replace("+ message['content'] +", "~ message['content'] ~")  # prints lists as Python writes them
MARKS = {
    "qwen2_vl": "<|image_pad|>",
    "qwen2_5_vl": "<|image_pad|>",
    "qwen3_vl": "<|image_pad|>",
    "qwen3_vl_moe": "<|image_pad|>",
    "internvl": "<IMG_CONTEXT>",
    "gemma3": "<start_of_image>",
    "glm4v": "<|image|>",
    "glm46v": "<|image|>",
    "glm4v_moe": "<|image|>",
    "deepseek_vl": "<image_placeholder>",
    "cohere2_vision": "<|IMG_PATCH|>",
    "mistral3": "[IMG]",
}
TURNS = [("what color is the circle?", 1, "red"), ("which digit?", 0, "3"), ("and here?", 2, "no"), ("why?", 0, "left")]


@pytest.fixture
def processor():
    return build_processor()


def message(role: str, text: str, images: int = 0) -> dict:
    return {"role": role, "content": [{"type": "image"}] * images + [{"type": "text", "text": text}]}


@pytest.mark.parametrize(
    ("template", "before", "end"),
    [(CHAT_TEMPLATE, " ", "</s>"), (CHATML, "", "<|im_end|>"), (NO_END, " ", ""), (SYSTEM, " ", "</s>")],
    ids=["embedded", "chatml", "no end", "system prompt"],
)
@pytest.mark.parametrize("cut", [False, True])
def test_turn_after_turn_makes_the_text_of_the_whole_dialogue(processor, template, before, end, cut):
    processor.chat_template = template
    transcript = Transcript(processor)
    context, messages = "", []
    for question, images, answer in TURNS:
        context += transcript.question(question, images)
        messages.append(message("user", question, images))
        whole = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert context == whole
        said = "" if cut else end
        context += before + answer + said
        transcript.answer(answer, said)
        messages.append(message("assistant", answer))


@pytest.mark.parametrize("family", PUBLISHED)
@pytest.mark.parametrize("cut", [False, True])
def test_it_does_with_every_familys_own_template(processor, family, cut):
    published = PUBLISHED[family]
    processor.chat_template, processor.image_token = published.template, MARKS.get(family, "<image>")
    processor.tokenizer.add_special_tokens({"additional_special_tokens": [*published.marks.values()]})
    transcript = Transcript(processor)
    context, messages, answers = "", [], []
    for question, images, answer in TURNS:
        turn = transcript.question(question, images)
        assert turn.count(processor.image_token) == images
        context += turn
        messages.append(message("user", question, images))
        whole = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert context == published.as_read(whole, answers, ended=not cut)
        context += published.before_answer + answer + ("" if cut else published.end)
        transcript.answer(answer, "" if cut else published.ends[0])
        answers.append(answer)
        messages.append(published.answer(answer))


@pytest.mark.parametrize("template", [LLM, CARELESS], ids=["refuses lists", "prints lists"])
def test_a_template_for_text_gets_text_with_a_mark_for_each_image(processor, template):
    processor.chat_template = template
    transcript = Transcript(processor)
    assert (
        transcript.question("red?", 2) == "<|im_start|>user\n<image>\n<image>\nred?<|im_end|>\n<|im_start|>assistant\n"
    )
    transcript.answer("no", "<|im_end|>")
    assert transcript.question("blue?") == "\n<|im_start|>user\nblue?<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_does_not_print_what_is_said_is_refused(processor):
    processor.chat_template = "USER: {{ messages | length }} ASSISTANT:"
    with pytest.raises(ValueError, match="chat template of LlavaProcessor does not print what is said"):
        Transcript(processor)


def test_what_a_model_thought_stays_as_it_read_it(processor):
    """Templates leave the thinking of earlier turns out; it was read, so it stays, and nothing is printed twice."""
    processor.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% for p in m.content %}{{ p.text.split('</think>')[-1] | trim }}{% endfor %}<|im_end|>\n{% endfor %}"
        "{{ '<|im_start|>assistant\n<think>\n' if add_generation_prompt }}"
    )
    transcript = Transcript(processor)
    assert transcript.question("red?").endswith("<|im_start|>assistant\n<think>\n")
    transcript.answer("It is round.</think>no", "<|im_end|>")
    assert transcript.question("blue?") == "\n<|im_start|>user\nblue?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert transcript.written("yes") == "yes", "the template prints an answer without its thinking"


@pytest.mark.parametrize(("family", "expected"), [("smolvlm", " red"), ("glm46v", "\n<think></think>\nred")])
def test_a_given_answer_has_the_blank_that_belongs_to_its_first_token(processor, family, expected, tmp_path):
    from transformers import AutoTokenizer

    import checkpoints

    words = checkpoints.PUBLISHED[family]
    tokenizer = words.words()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    processor.tokenizer, processor.chat_template = AutoTokenizer.from_pretrained(tmp_path), words.template
    transcript = Transcript(processor)
    transcript.question("which color?")
    assert transcript.written("red") == expected


def test_a_given_answer_has_no_blank_that_the_tokenizer_adds_itself(processor):
    transcript = Transcript(processor)
    transcript.question("which color?")
    assert transcript.written("red") in ("red", " red")
    ids = processor.tokenizer(transcript.written("red"), add_special_tokens=False).input_ids
    assert ids == processor.tokenizer("red", add_special_tokens=False).input_ids


def test_more_images_than_marks_are_refused(processor):
    from PIL import Image

    with pytest.raises(ValueError, match=r"2 image\(s\) for 1 '<image>' in the text"):
        encode_turn(build_model(), processor, ["USER: <image>\nred? ASSISTANT:"], [Image.new("RGB", (9, 9))] * 2)


def test_inputs_that_the_model_has_no_parameter_for_are_left_out(processor):
    processor.tokenizer.model_input_names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = encode_turn(build_model(), processor, ["USER: red? ASSISTANT:"])
    assert "token_type_ids" in processor(text=["USER: red?"])
    assert inputs.keys() == {"input_ids", "attention_mask"}


def test_the_end_of_an_answer_is_the_tokenizers_where_the_template_prints_none(processor):
    model = build_model()
    assert answer_end(model, processor) == "</s>"
    processor.chat_template = NO_END
    assert answer_end(model, processor) == "</s>"
    processor.chat_template = CHATML  # ends answers with words that are no end-of-sequence token here
    assert answer_end(model, processor) == "</s>"


def test_token_by_token_it_is_the_whole_dialogue_too(processor):
    model = build_model()
    transcript, ids, messages = Transcript(processor), [], []
    for question, _, answer in TURNS:
        turn = encode_turn(model, processor, [transcript.question(question)], first=not ids)
        said = processor.tokenizer(f"{answer}</s>", add_special_tokens=False).input_ids
        ids += turn["input_ids"][0].tolist()
        messages.append(message("user", question))
        whole = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert ids == processor(text=[whole], return_tensors="pt").input_ids[0].tolist()
        ids += said
        transcript.answer(answer, "</s>")
        messages.append(message("assistant", answer))


def test_asking_again_before_the_answer_replaces_the_question(processor):
    transcript = Transcript(processor)
    transcript.question("what color?")
    assert "color" not in transcript.question("what shape?")
    transcript.answer("red", "</s>")
    transcript.question("how many?")
    assert transcript.question("where?") == "USER: where? ASSISTANT:"


@pytest.mark.parametrize("words", ["is this <image> red?", "<image>"])
def test_the_models_own_mark_of_an_image_is_refused_in_a_question(processor, words):
    transcript = Transcript(processor)
    with pytest.raises(ValueError, match="the question contains '<image>'"):
        transcript.question(words, images=1)
    assert transcript.question("what color?", 1) == "USER: <image>\nwhat color? ASSISTANT:"


def test_words_that_look_like_pinholes_own_mark_do_no_harm(processor):
    transcript = Transcript(processor)
    transcript.question("what color?")
    transcript.answer("PINHOLEANSWER", "</s>")
    for words in ("PINHOLEANSWER?", "PINHOLEANSWERPINHOLEANSWER PINHOLE"):
        assert transcript.question(words) == f"USER: {words} ASSISTANT:"


def test_a_template_that_prints_no_mark_for_an_image_is_refused(processor):
    processor.chat_template = CHAT_TEMPLATE.replace("<image>\n", "")
    with pytest.raises(ValueError, match=r"printed 0 '<image>' for 1 image\(s\): set a processor.chat_template"):
        Transcript(processor).question("what color?", 1)


def test_a_processor_without_a_template_is_refused(processor):
    processor.chat_template = None
    with pytest.raises(ValueError, match="LlavaProcessor has no chat template"):
        Transcript(processor)


def test_a_batch_is_padded_on_the_left_and_pictures_take_the_models_dtype(processor):
    from PIL import Image

    model = build_model().to(torch.bfloat16)
    texts = ["USER: <image>\nred? ASSISTANT:", "USER: <image>\nwhat color is the circle? ASSISTANT:"]
    inputs = encode_turn(model, processor, texts, [Image.new("RGB", (50, 20))] * 2)
    assert inputs["attention_mask"][0].tolist()[:5] == [0] * 4 + [1]
    assert inputs["pixel_values"].dtype == torch.bfloat16
    starts = inputs["attention_mask"].argmax(1)
    assert inputs["input_ids"][[0, 1], starts].tolist() == [processor.tokenizer.bos_token_id] * 2
    later = encode_turn(model, processor, texts[:1], [Image.new("RGB", (50, 20))], first=False)
    assert processor.tokenizer.bos_token_id not in later["input_ids"]


def test_a_start_token_that_the_template_prints_is_not_doubled(processor):
    inputs = encode_turn(build_model(), processor, ["<s>USER: red? ASSISTANT:"])
    assert (inputs["input_ids"] == processor.tokenizer.bos_token_id).sum() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3), (3, 200), (2, 3)])
def test_pictures_of_odd_shapes_pass_the_processor(processor, shape):
    from PIL import Image

    inputs = encode_turn(build_model(), processor, ["<image>\nred?"], [Image.new("RGB", shape, (255, 0, 0))])
    assert inputs["pixel_values"].shape == (1, 3, 144, 144)
    red, green, blue = inputs["pixel_values"][0].flatten(1).mean(1).tolist()
    assert (round(red, 2), round(green, 2), round(blue, 2)) == (2.0, -2.0, -2.0)


def test_answers_are_cut_at_their_end_token(processor):
    model, tokenizer = build_model(), processor.tokenizer
    rows = ["red circle </s> <pad> <pad>", "yes </s> <pad> <pad> <pad>", "top left object on the"]
    answers = torch.tensor([tokenizer(row, add_special_tokens=False).input_ids for row in rows])
    expected = [("red circle", "</s>"), ("yes", "</s>"), ("top left object on the", "")]
    assert decode_answers(model, processor, answers) == expected
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(["left", "circle"])
    assert decode_answers(model, processor, answers)[::2] == [("red", "circle"), ("top", "left")]
    model.generation_config.eos_token_id = None
    assert decode_answers(model, processor, answers)[1] == ("yes", "")
    ids = tokenizer.convert_tokens_to_ids(["circle", "left"])
    assert decode_answers(model, processor, answers, ends=ids)[::2] == [("red", "circle"), ("top", "left")]
    assert decode_answers(model, processor, answers, ends=ids[0])[0] == ("red", "circle")


def test_answers_are_cut_at_the_first_stop_string(processor):
    model = build_model()
    answers = torch.tensor([processor.tokenizer("top left object on the", add_special_tokens=False).input_ids])
    for stops, expected in ((["on", "left"], ("top", "left object on the")), (["up"], ("top left object on the", ""))):
        assert decode_answers(model, processor, answers, stops=stops) == [expected]
