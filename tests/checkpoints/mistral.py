"""Mistral Small 3.1 as published."""

from __future__ import annotations

from tokenizers import Tokenizer, processors

from checkpoints.parts import CLIP_MEAN, CLIP_STD, Published, byte_words
from zoo.parts import END, IMAGE

TEMPLATE = (
    "{{ bos_token }}[SYSTEM_PROMPT]You are a helpful assistant.[/SYSTEM_PROMPT]{% for message in messages %}"
    "{% if message.role == 'user' %}[INST]"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{{ '[IMG]' if part.type == 'image' else part.text }}{% endfor %}{% endif %}[/INST]"
    "{% else %}{{ message.content + eos_token }}{% endif %}{% endfor %}"
)
"""An answer must be text."""


def words() -> Tokenizer:
    """As Tekken's."""
    tokenizer = byte_words("<unk>", "<s>", "</s>", "<pad>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


PUBLISHED = {
    "mistral3": Published(
        words,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "processor_class": "PixtralProcessor",
        },
        {
            245: "[INST]",
            246: "[/INST]",
            247: "[SYSTEM_PROMPT]",
            248: "[/SYSTEM_PROMPT]",
            249: "[IMG_BREAK]",
            IMAGE: "[IMG]",
            END: "[IMG_END]",
        },
        TEMPLATE,
        {
            "preprocessor_config.json": {
                "image_processor_type": "PixtralImageProcessorFast",
                "processor_class": "PixtralProcessor",
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "patch_size": {"height": 8, "width": 8},
                "size": {"longest_edge": 48},
            },
            "processor_config.json": {
                "processor_class": "PixtralProcessor",
                "image_token": "[IMG]",
                "image_break_token": "[IMG_BREAK]",
                "image_end_token": "[IMG_END]",
                "patch_size": 8,
                "spatial_merge_size": 2,
            },
        },
        ("</s>",),
        text_answers=True,
        needs_torchvision=True,
    )
}
