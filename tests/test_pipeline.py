"""transformers' pipelines on fewer visual tokens: what comes out is what Chat and generate say under compress."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import pinhole
from pinhole.pipeline import TASK

SETTINGS = {"max_new_tokens": 6, "return_full_text": False}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The task is known while a test runs."""
    monkeypatch.setattr(PIPELINE_REGISTRY, "supported_tasks", dict(PIPELINE_REGISTRY.supported_tasks))
    pinhole.register_pipeline()


@pytest.fixture(scope="module")
def asked(scenes):
    """Questions and the pictures that they are about."""
    lines = [json.loads(line) for line in (scenes / "dialogues.jsonl").read_text().splitlines()]
    return [(turn["question"], Image.open(scenes / line["image"])) for line in lines for turn in line["turns"][:1]]


def chat(question, *pictures):
    """A question in the format of transformers' chats."""
    seen = [{"type": "image", "image": picture} for picture in pictures]
    return [{"role": "user", "content": [*seen, {"type": "text", "text": question}]}]


def made(embedded, **settings):
    model, processor = embedded
    return pipeline(TASK, model=model, processor=processor, **settings)


def said(results):
    return [result["generated_text"].strip() for result in results]


@pytest.mark.parametrize(
    ("written", "methods"),
    [
        ("sample:keep=0.02", pinhole.Sample(keep=0.02)),
        (pinhole.Spatial(keep=0.05), pinhole.Spatial(keep=0.05)),
        ("sample:keep=0.25+fastv:layer=1,keep=0.1", [pinhole.Sample(keep=0.25), pinhole.FastV(layer=1, keep=0.1)]),
        (None, None),
    ],
)
def test_it_answers_as_chat_does(embedded, asked, written, methods):
    pipe = made(embedded, method=written)
    answers = [said(pipe(text=chat(*one), **SETTINGS)) for one in asked]
    assert answers == [[pinhole.Chat(*embedded, methods, max_new_tokens=6).ask(q, [p])] for q, p in asked]
    full = [[pinhole.Chat(*embedded, max_new_tokens=6).ask(q, [p])] for q, p in asked]
    assert (answers == full) == (written is None), "so few tokens change some answers"


def test_a_scope_reaches_compress(embedded, asked):
    pipe = made(embedded, method="sample:keep=0.02", positions="original")
    answers = [said(pipe(text=chat(*one), **SETTINGS)) for one in asked]
    method = pinhole.Sample(keep=0.02)
    expected = [pinhole.Chat(*embedded, method, max_new_tokens=6, positions="original").ask(q, [p]) for q, p in asked]
    assert answers == [[answer] for answer in expected]
    with pytest.raises(ValueError, match="positions is compact, original or None"):
        made(embedded, positions="odd")(text=chat(*asked[0]), **SETTINGS)


def test_a_call_may_have_a_method_of_its_own_and_leaves_the_model_alone(embedded, asked):
    pipe = made(embedded, method="sample:keep=0.02")
    plain = pipeline("image-text-to-text", model=embedded[0], processor=embedded[1])
    chats = [chat(*one) for one in asked]
    assert [said(pipe(text=one, method="full", **SETTINGS)) for one in chats] == [
        said(plain(text=one, **SETTINGS)) for one in chats
    ]
    assert "generate" not in vars(embedded[0])
    pipe(text=chats[0], **SETTINGS)
    assert "generate" not in vars(embedded[0])


@pytest.mark.parametrize("size", [1, 4])
def test_chats_in_batches(embedded, asked, size):
    pipe = made(embedded, method="divprune:keep=0.05")
    chats = [chat(*one) for one in asked[:8]]
    alone = [said(pipe(text=one, **SETTINGS)) for one in chats]
    assert [said(one) for one in pipe(text=chats, batch_size=size, **SETTINGS)] == alone


def test_what_else_transformers_pipeline_takes(embedded, asked):
    pipe = made(embedded, method="sample:keep=0.1")
    question, picture = asked[0]
    [told] = pipe(text=chat(question, picture), max_new_tokens=6)
    answer = told["generated_text"][-1]
    assert told["generated_text"][:-1] == chat(question, picture)
    assert answer["role"] == "assistant"
    words = f"USER: <image>\n{question} ASSISTANT:"
    [told] = pipe(images=picture, text=words, generate_kwargs={"max_new_tokens": 6})
    assert told["generated_text"] == words + answer["content"]
    several = pipe(
        text=chat(question, picture), generate_kwargs={"num_beams": 2, "num_return_sequences": 2}, **SETTINGS
    )
    assert len(several) == 2
    assert said(pipe(text=chat("Say something."), **SETTINGS)) == said(
        made(embedded)(text=chat("Say something."), **SETTINGS)
    )


def test_transformers_own_pipeline_under_compress_gives_what_generate_gives(embedded, asked):
    model, processor = embedded
    plain = pipeline("image-text-to-text", model=model, processor=processor)
    for question, picture in asked[:4]:
        inputs = processor.apply_chat_template(
            chat(question, picture), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        with pinhole.compress(model, pinhole.Sample(keep=0.02)) as compression:
            [told] = plain(text=chat(question, picture), max_new_tokens=6, return_tensors=True)
            assert [reduction.m for reduction in compression.reductions] == [3]
            assert torch.equal(told["generated_token_ids"], model.generate(**inputs, max_new_tokens=6)[0])


def test_a_compressed_model_and_a_method_that_there_is_not_are_refused(embedded, asked):
    with pytest.raises(ValueError, match="no method 'sampel'; did you mean 'sample'"):
        made(embedded, method="sampel")
    pipe = made(embedded, method="sample:keep=0.1")
    with (
        pinhole.compress(embedded[0], pinhole.Sample(keep=0.1)),
        pytest.raises(ValueError, match="already compressed"),
    ):
        pipe(text=chat(*asked[0]), **SETTINGS)


def test_what_it_saves_is_a_plain_checkpoint(embedded, asked, tmp_path):
    pipe = made(embedded, method="sample:keep=0.02")
    pipe.save_pretrained(tmp_path)
    embedded[1].save_pretrained(tmp_path)  # which a pipeline leaves out
    assert not list(tmp_path.glob("*.py"))
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())
    again = pipeline(TASK, model=str(tmp_path), device="cpu", method="sample:keep=0.02")
    one = chat(*asked[0])
    assert said(again(text=one, **SETTINGS)) == said(pipe(text=one, **SETTINGS))


def test_importing_pinhole_registers_nothing():
    code = "import pinhole; pinhole.Chat; from transformers.pipelines import PIPELINE_REGISTRY as known; "
    code += f"assert '{TASK}' not in known.supported_tasks; pinhole.register_pipeline(); pinhole.register_pipeline(); "
    code += f"assert '{TASK}' in known.supported_tasks"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "already registered" in done.stderr) == (0, False), done.stderr
