"""The GLM models as published."""

from __future__ import annotations

import functools
from typing import Any

from checkpoints.parts import CLIP_MEAN, CLIP_STD, Published, byte_words
from checkpoints.qwen import LEAST, MOST, PATCHES
from zoo.parts import END, IMAGE, START, VIDEO

TOKENIZER = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
MARKS = {
    243: "[gMASK]",
    244: "<sop>",
    245: "<|system|>",
    246: "<|user|>",
    247: "<|assistant|>",
    248: "<|begin_of_video|>",
    249: "<|end_of_video|>",
    IMAGE: "<|image|>",
    VIDEO: "<|video|>",
    START: "<|begin_of_image|>",
    END: "<|end_of_image|>",
}
PIXELS = {
    "size": {"shortest_edge": LEAST, "longest_edge": MOST},
    **PATCHES,
    "do_rescale": True,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
ENDS = ("<|user|>", "<|endoftext|>")


def template(before: str, content: str, prompt: str) -> str:
    """Questions in parts or as text, an answer as the family prints it."""
    return (
        "[gMASK]<sop>{% for message in messages %}{% if message.role == 'user' %}{{ '<|user|>\\n' }}"
        "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
        "{% if part.type == 'text' %}{{ part.text }}{% else %}"
        "<|begin_of_{{ part.type }}|><|{{ part.type }}|><|end_of_{{ part.type }}|>{% endif %}{% endfor %}{% endif %}"
        "{% else %}{{ '<|assistant|>" + before + "' }}" + content + "{% endif %}{% endfor %}"
        "{{ '<|assistant|>" + prompt + "' if add_generation_prompt }}"
    )


THINKING = template("\\n", "{{ message.content }}", "\\n")
"""GLM-4.1V's: an answer must be text; of a list it would print what Python writes for it."""

UNTHOUGHT = "\n<think></think>\n"
HYBRID = template(
    "\\n<think></think>\\n",
    "{% if message.content is string %}{{ message.content }}{% else %}{{ message.content[0].text }}{% endif %}",
    "",
)
"""GLM-4.5V's: earlier turns are printed without what the model thought."""


def _glm(name: str, kind: str, chat_template: str, **more: Any) -> Published:
    words = functools.partial(byte_words, "<|endoftext|>")
    files = {
        "preprocessor_config.json": {**PIXELS, "image_processor_type": f"{kind}ImageProcessor"},
        "video_preprocessor_config.json": {**PIXELS, "video_processor_type": f"{kind}VideoProcessor"},
    }
    files = {file: {**content, "processor_class": name} for file, content in files.items()}
    return Published(words, TOKENIZER, MARKS, chat_template, files, ENDS, {"do_sample": True, "top_k": 2}, **more)


PUBLISHED = {
    "glm4v": _glm("Glm4vProcessor", "Glm4v", THINKING, text_answers=True),
    "glm4v_moe": _glm("Glm4vProcessor", "Glm4v", HYBRID, before_answer=UNTHOUGHT),
    "glm46v": _glm("Glm46VProcessor", "Glm46V", HYBRID, before_answer=UNTHOUGHT),
}
