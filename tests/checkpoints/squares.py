"""Models that read one square per image, as published."""

from __future__ import annotations

import functools

from checkpoints.llava import CROPS, LLAMA, MARKS, SQUARES
from checkpoints.parts import HALF, Published, byte_words, llama_words, parts_of
from zoo.parts import IMAGE

VIP = (
    "{% for message in messages %}###{{ 'Human' if message.role == 'user' else 'Assistant' }}: "
    + parts_of("image", "{{ '<image>\\n' }}")
    + parts_of("text", "{{ part.text }}")
    + "{% endfor %}{% if add_generation_prompt %}###Assistant:{% endif %}"
)
DEEPSEEK_END = "<\uff5cend\u2581of\u2581sentence\uff5c>"
DEEPSEEK = (
    "You are a helpful assistant.{{ '\\n\\n' }}{% for message in messages %}{{ message.role | capitalize }}: "
    "{% for part in message.content %}{{ '<image_placeholder>' if part.type == 'image' else part.text }}{% endfor %}"
    "{{ '\\n\\n' if message.role == 'user' else '" + DEEPSEEK_END + "' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)

PUBLISHED = {
    "vipllava": Published(
        llama_words,
        {**LLAMA, "processor_class": "LlavaProcessor"},
        MARKS,
        VIP,
        {
            "preprocessor_config.json": {**CROPS, "image_processor_type": "CLIPImageProcessor"},
            "processor_config.json": {
                "processor_class": "LlavaProcessor",
                "patch_size": 12,
                "num_additional_image_tokens": 1,
                "vision_feature_select_strategy": "default",
            },
        },
        ("</s>",),
        before_answer=" ",
        unended="###",
    ),
    "deepseek_vl": Published(
        functools.partial(byte_words, "<unk>", "<s>", DEEPSEEK_END),
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": DEEPSEEK_END,
            "pad_token": DEEPSEEK_END,
            "extra_special_tokens": {"image_token": "<image_placeholder>"},
            "processor_class": "DeepseekVLProcessor",
        },
        {IMAGE: "<image_placeholder>"},
        DEEPSEEK,
        {
            "preprocessor_config.json": {
                **SQUARES,
                "image_processor_type": "DeepseekVLImageProcessor",
                "processor_class": "DeepseekVLProcessor",
                "image_mean": HALF,
                "image_std": HALF,
                "min_size": 1,
            },
            "processor_config.json": {"processor_class": "DeepseekVLProcessor", "num_image_tokens": 16},
        },
        (DEEPSEEK_END,),
        before_answer=" ",
    ),
}
