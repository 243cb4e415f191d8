"""Idefics3 and SmolVLM as published."""

from __future__ import annotations

import functools
from typing import Any

from checkpoints.parts import HALF, Published, byte_words
from zoo.parts import IMAGE, START

PIXELS = {
    "do_convert_rgb": True,
    "do_image_splitting": True,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALF,
    "image_std": HALF,
    "max_image_size": {"longest_edge": 32},
    "resample": 1,
    "rescale_factor": 0.00392156862745098,
    "size": {"longest_edge": 64},
}
TILES = ("<row_1_col_1>", "<row_1_col_2>", "<row_2_col_1>", "<row_2_col_2>")
MARKS = {
    240: "<global-img>",
    **dict(enumerate(TILES, 241)),
    249: "<video>",
    IMAGE: "<image>",
    START: "<fake_token_around_image>",
}
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}:"
    "{{ ' ' if message.content[0].type != 'image' }}"
    "{% for part in message.content %}{{ part.text if part.type == 'text' else '<' + part.type + '>' }}{% endfor %}"
    "{{ '<end_of_utterance>\\n' }}{% endfor %}{{ 'Assistant:' if add_generation_prompt }}"
)


def _idefics(name: str, files: dict[str, dict[str, Any]]) -> Published:
    tokenizer = {
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": False,
        "bos_token": "<|im_start|>",
        "eos_token": "<end_of_utterance>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "processor_class": name,
    }
    words = functools.partial(byte_words, "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<end_of_utterance>")
    files = {file: {**content, "processor_class": name} for file, content in files.items()}
    return Published(words, tokenizer, MARKS, TEMPLATE, files, ("<end_of_utterance>",), before_answer=" ")


PUBLISHED = {
    "idefics3": _idefics(
        "Idefics3Processor",
        {
            "preprocessor_config.json": {**PIXELS, "image_processor_type": "Idefics3ImageProcessor"},
            "processor_config.json": {"image_seq_len": 4},
        },
    ),
    "smolvlm": _idefics(
        "SmolVLMProcessor",
        {
            "preprocessor_config.json": {**PIXELS, "image_processor_type": "SmolVLMImageProcessor"},
            "processor_config.json": {"image_seq_len": 4},
            "video_preprocessor_config.json": {
                **{key: value for key, value in PIXELS.items() if key != "do_image_splitting"},
                "video_processor_type": "SmolVLMVideoProcessor",
                "num_frames": 64,
                "fps": 1,
                "size": {"longest_edge": 32},
            },
        },
    ),
}
