"""Gemma 3 as published."""

from __future__ import annotations

from checkpoints.parts import HALF, Published, gemma_words
from zoo.parts import END, IMAGE, START

TOKENS = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}"
    "{% if message.content is string %}{{ message.content | trim }}{% else %}"
    "{% for part in message.content %}"
    "{{ '<start_of_image>' if part.type == 'image' else part.text | trim }}{% endfor %}{% endif %}"
    "{{ '<end_of_turn>\\n' }}{% endfor %}{{ '<start_of_turn>model\\n' if add_generation_prompt }}"
)

PUBLISHED = {
    "gemma3": Published(
        gemma_words,
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            **TOKENS,
            "extra_special_tokens": TOKENS,
            "processor_class": "Gemma3Processor",
        },
        {
            248: "<start_of_turn>",
            249: "<end_of_turn>",
            IMAGE: "<image_soft_token>",
            START: "<start_of_image>",
            END: "<end_of_image>",
        },
        TEMPLATE,
        {
            "preprocessor_config.json": {
                "image_processor_type": "Gemma3ImageProcessor",
                "processor_class": "Gemma3Processor",
                "do_convert_rgb": None,
                "do_normalize": True,
                "do_pan_and_scan": None,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": HALF,
                "image_std": HALF,
                "image_seq_length": 16,
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 48, "width": 48},
            },
            "processor_config.json": {"image_seq_length": 16, "processor_class": "Gemma3Processor"},
        },
        ("<end_of_turn>", "<eos>"),
        {"do_sample": True, "top_k": 64, "top_p": 0.95},
    )
}
