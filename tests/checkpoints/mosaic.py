"""Models that read a picture tile by tile, each with marks of its own, as published."""

from __future__ import annotations

import functools
from typing import Any

from checkpoints.parts import CHATML, CHATML_ENDS, CLIP_MEAN, CLIP_STD, HALF, Published, byte_words, chatml_words
from checkpoints.parts import chatml_template as chatml
from zoo.parts import END, IMAGE, START

TURN, OVER = "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"
TOKENS = {
    "boi_token": "<|START_OF_IMG|>",
    "eoi_token": "<|END_OF_IMG|>",
    "image_token": "<|IMG_PATCH|>",
    "img_line_break_token": "<|IMG_LINE_BREAK|>",
}
COHERE_MARKS = {
    254: "TILE_GLOBAL",
    **{239 + number: f"TILE_{number}" for number in range(1, 5)},
    244: "<|IMG_LINE_BREAK|>",
    245: TURN,
    246: OVER,
    247: "<|USER_TOKEN|>",
    248: "<|CHATBOT_TOKEN|>",
    249: "<|START_RESPONSE|>",
    IMAGE: "<|IMG_PATCH|>",
    251: "<|END_RESPONSE|>",
    START: "<|START_OF_IMG|>",
    END: "<|END_OF_IMG|>",
}


def cohere_template(image: str) -> str:
    """Answers stand between marks of their own."""
    return (
        "{{ bos_token }}{% for message in messages %}" + TURN + "{% if message.role == 'user' %}<|USER_TOKEN|>"
        "{% for part in message.content %}{{ '" + image + "' if part.type == 'image' else part.text }}{% endfor %}"
        "{% else %}<|CHATBOT_TOKEN|><|START_RESPONSE|>"
        "{% for part in message.content %}{{ part.text | trim }}{% endfor %}<|END_RESPONSE|>{% endif %}"
        + OVER
        + "{% endfor %}{% if add_generation_prompt %}"
        + TURN
        + "<|CHATBOT_TOKEN|><|START_RESPONSE|>{% endif %}"
    )


def _cohere(name: str, image: str, images: dict[str, Any], settings: dict[str, Any], **more: Any) -> Published:
    tokenizer = {
        "tokenizer_class": "CohereTokenizer",
        "bos_token": "<BOS_TOKEN>",
        "eos_token": OVER,
        "pad_token": "<PAD>",
        "unk_token": "<UNK>",
        "processor_class": name,
        **TOKENS,
        "extra_special_tokens": TOKENS,
    }
    files = {
        "preprocessor_config.json": {**images, "image_mean": HALF, "image_std": HALF, "processor_class": name},
        "processor_config.json": {**settings, "processor_class": name},
    }
    words = functools.partial(byte_words, "<PAD>", "<UNK>", "<BOS_TOKEN>")
    return Published(
        words, tokenizer, COHERE_MARKS, cohere_template(image), files, (OVER,), mark="<|END_RESPONSE|>", **more
    )


SIZE = {"size": {"height": 48, "width": 48}, "min_patches": 1, "max_patches": 4, "crop_to_patches": True}
PUBLISHED = {
    "aya_vision": _cohere(
        "AyaVisionProcessor",
        "<image>",
        {**SIZE, "image_processor_type": "GotOcr2ImageProcessor"},
        {"patch_size": 12, "img_size": 48, "downsample_factor": 2, "image_token": "<image>"},
    ),
    "cohere2_vision": _cohere(
        "Cohere2VisionProcessor",
        "<|IMG_PATCH|>",
        {**SIZE, "image_processor_type": "Cohere2VisionImageProcessorFast", "patch_size": 2},
        {},
        needs_torchvision=True,
    ),
    "ovis2": Published(
        chatml_words,
        {**CHATML, "processor_class": "Ovis2Processor"},
        {
            240: "<IMG_GRID>",
            241: "<IMG_COL>",
            242: "<IMG_ROW>",
            249: "<image>",
            IMAGE: "<IMG_ATOM>",
            START: "<IMG_START>",
            END: "<IMG_END>",
        },
        chatml("{{ '<image>\\n' }}", "", "You are a helpful assistant."),
        {
            "preprocessor_config.json": {
                **SIZE,
                "image_processor_type": "Ovis2ImageProcessor",
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "processor_class": "Ovis2Processor",
            },
            "processor_config.json": {"image_seq_length": 4, "processor_class": "Ovis2Processor"},
        },
        CHATML_ENDS,
        config={"visual_indicator_token_ids": [START, 240, 241, 242, END]},
    ),
}
