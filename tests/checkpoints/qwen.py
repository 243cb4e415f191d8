"""The Qwen models as published."""

from __future__ import annotations

from typing import Any

from checkpoints.parts import (
    CHATML,
    CHATML_ENDS,
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    Published,
    chatml_template,
    chatml_words,
)
from zoo.parts import END, IMAGE, START, VIDEO

IMAGE_PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
VIDEO_PLACE = "<|vision_start|><|video_pad|><|vision_end|>"
MARKS = {IMAGE: "<|image_pad|>", VIDEO: "<|video_pad|>", START: "<|vision_start|>", END: "<|vision_end|>"}
SAMPLING = {"do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.001}
PATCHES = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2}
LEAST, MOST = 8 * 8 * 4, 8 * 8 * 30
PIXELS = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "min_pixels": LEAST,
    "max_pixels": MOST,
    **PATCHES,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
SIZES = {"size": {"shortest_edge": LEAST, "longest_edge": MOST}, **PATCHES, "image_mean": HALF, "image_std": HALF}
SYSTEM = "You are a helpful assistant."


def _qwen(name: str, files: dict[str, dict[str, Any]], system: str = "", **generation: Any) -> Published:
    template = chatml_template(IMAGE_PLACE, VIDEO_PLACE, system)
    files = {file: {**content, "processor_class": name} for file, content in files.items()}
    return Published(chatml_words, CHATML, MARKS, template, files, CHATML_ENDS, {**SAMPLING, **generation})


QWEN3 = _qwen(
    "Qwen3VLProcessor",
    {
        "preprocessor_config.json": {**SIZES, "image_processor_type": "Qwen2VLImageProcessorFast"},
        "video_preprocessor_config.json": {**SIZES, "video_processor_type": "Qwen3VLVideoProcessor"},
    },
)
PUBLISHED = {
    "qwen2_vl": _qwen("Qwen2VLProcessor", {"preprocessor_config.json": PIXELS}, SYSTEM),
    "qwen2_5_vl": _qwen("Qwen2_5_VLProcessor", {"preprocessor_config.json": PIXELS}, SYSTEM, repetition_penalty=1.05),
    "qwen3_vl": QWEN3,
    "qwen3_vl_moe": QWEN3,
}
