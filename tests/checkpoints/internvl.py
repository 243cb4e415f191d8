"""InternVL as published."""

from __future__ import annotations

from checkpoints.parts import CHATML, CHATML_ENDS, Published, chatml_template, chatml_words
from zoo.parts import END, IMAGE, START, VIDEO

TOKENS = {
    "context_image_token": "<IMG_CONTEXT>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "video_token": "<video>",
}
PIXELS = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 48, "width": 48},
}

PUBLISHED = {
    "internvl": Published(
        chatml_words,
        {**CHATML, **TOKENS, "extra_special_tokens": TOKENS, "processor_class": "InternVLProcessor"},
        {IMAGE: "<IMG_CONTEXT>", VIDEO: "<video>", START: "<img>", END: "</img>"},
        chatml_template("{{ '<IMG_CONTEXT>\\n' }}", "{{ '<video>\\n' }}"),
        {
            "preprocessor_config.json": {
                **PIXELS,
                "image_processor_type": "GotOcr2ImageProcessorFast",
                "processor_class": "InternVLProcessor",
                "crop_to_patches": False,
                "min_patches": 1,
                "max_patches": 4,
            },
            "processor_config.json": {"processor_class": "InternVLProcessor", "image_seq_length": 9},
            "video_preprocessor_config.json": {**PIXELS, "video_processor_type": "InternVLVideoProcessor"},
        },
        CHATML_ENDS,
    )
}
