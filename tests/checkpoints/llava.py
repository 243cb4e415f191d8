"""The LLaVA models as published."""

from __future__ import annotations

from typing import Any

from checkpoints.parts import (
    CHATML,
    CHATML_ENDS,
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    Published,
    chatml_words,
    llama_words,
    parts_of,
)
from zoo.llava import TILES
from zoo.parts import IMAGE, VIDEO

LLAMA = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "legacy": False,
    "image_token": "<image>",
    "extra_special_tokens": {"image_token": "<image>"},
}
FRAMES = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 48},
}
CROPS = {**FRAMES, "crop_size": {"height": 48, "width": 48}, "do_center_crop": True}
SQUARES = {"size": {"height": 48, "width": 48}, "image_mean": HALF, "image_std": HALF}
TILED = {"aspect_ratio_setting": "anyres", "do_pad": True, "image_grid_pinpoints": TILES}
MARKS = {249: "<pad>", IMAGE: "<image>"}


def vicuna(video: str = "") -> str:
    """Images, then videos, then words; the end of an answer is not printed."""
    return (
        "{% for message in messages %}{% if message.role != 'system' %}{{ message.role | upper }}: {% endif %}"
        + parts_of("image", "{{ '<image>\\n' }}")
        + parts_of("video", video)
        + "{% if message.role == 'assistant' %}{% generation %}"
        + parts_of("text", "{{ part.text + ' ' }}")
        + "{% endgeneration %}{% else %}"
        + parts_of("text", "{{ part.text + ' ' }}")
        + "{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    )


MISTRAL = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] "
    + parts_of("image", "{{ '<image>\\n' }}")
    + parts_of("text", "{{ part.text }}")
    + " [/INST]{% else %} "
    + parts_of("text", "{{ part.text + '</s> ' }}")
    + "{% endif %}{% endfor %}"
)
ONEVISION = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    + parts_of("image", "<image>")
    + parts_of("video", "<video>")
    + parts_of("text", "{{ '\\n' + part.text }}")
    + "<|im_end|>{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"
)


def _llava(name: str, images: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    return {
        "preprocessor_config.json": {**images, "processor_class": name},
        "processor_config.json": {
            "processor_class": name,
            "image_token": "<image>",
            "patch_size": 12,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
            **more,
        },
    }


PUBLISHED = {
    "llava": Published(
        llama_words,
        {**LLAMA, "processor_class": "LlavaProcessor"},
        MARKS,
        vicuna(),
        _llava("LlavaProcessor", {**CROPS, "image_processor_type": "CLIPImageProcessor"}),
        ("</s>",),
        before_answer=" ",
        unended=" ",
    ),
    "llava_next": Published(
        llama_words,
        {**LLAMA, "processor_class": "LlavaNextProcessor"},
        MARKS,
        MISTRAL,
        _llava("LlavaNextProcessor", {**CROPS, **TILED, "image_processor_type": "LlavaNextImageProcessor"}),
        ("</s>",),
        before_answer=" ",
    ),
    "llava_next_video": Published(
        llama_words,
        {**LLAMA, "processor_class": "LlavaNextVideoProcessor"},
        {**MARKS, VIDEO: "<video>"},
        vicuna("{{ '<video>\\n' }}"),
        {
            **_llava(
                "LlavaNextVideoProcessor",
                {**CROPS, **TILED, "image_processor_type": "LlavaNextImageProcessor"},
                video_token="<video>",
            ),
            "video_preprocessor_config.json": {**CROPS, "video_processor_type": "LlavaNextVideoVideoProcessor"},
        },
        ("</s>",),
        before_answer=" ",
        unended=" ",
    ),
    "llava_onevision": Published(
        chatml_words,
        {**CHATML, "processor_class": "LlavaOnevisionProcessor"},
        {IMAGE: "<image>", VIDEO: "<video>"},
        ONEVISION,
        {
            "preprocessor_config.json": {
                **FRAMES,
                **SQUARES,
                **TILED,
                "image_grid_pinpoints": [*TILES, [192, 192]],
                "image_processor_type": "LlavaOnevisionImageProcessor",
                "processor_class": "LlavaOnevisionProcessor",
            },
            "processor_config.json": {
                "processor_class": "LlavaOnevisionProcessor",
                "image_token": "<image>",
                "video_token": "<video>",
                "num_image_tokens": 16,
                "vision_aspect_ratio": "anyres_max_2",
                "vision_feature_select_strategy": "full",
            },
            "video_preprocessor_config.json": {
                **FRAMES,
                **SQUARES,
                "video_processor_type": "LlavaOnevisionVideoProcessor",
            },
        },
        CHATML_ENDS,
        printed=("assistant \n", "assistant\n"),
    ),
}
