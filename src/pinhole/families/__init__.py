"""One Hugging Face model type, one file; `family_of(model)` finds the right one."""

from __future__ import annotations

import importlib

from transformers import PreTrainedModel

from pinhole.families.base import Family

FAMILIES = {
    "llava": "pinhole.families.llava:Llava",
    "llava_next": "pinhole.families.llava_next:LlavaNext",
    "llava_next_video": "pinhole.families.llava_next_video:LlavaNextVideo",
    "llava_onevision": "pinhole.families.llava_onevision:LlavaOnevision",
    "qwen2_vl": "pinhole.families.qwen2_vl:Qwen2VL",
    "qwen2_5_vl": "pinhole.families.qwen2_5_vl:Qwen2_5VL",
    "qwen3_vl": "pinhole.families.qwen3_vl:Qwen3VL",
    "internvl": "pinhole.families.internvl:InternVL",
}
"""Class of each supported `model.config.model_type`, as "module:Class"."""


def check_supported(model_type: str) -> None:
    """Refuse a model type that has no family.

    Raises:
        ValueError: it is not supported; the message lists those that are.
    """
    if model_type not in FAMILIES:
        raise ValueError(
            f"no support for models of type {model_type!r}; supported types: {', '.join(sorted(FAMILIES))}"
        )


def family_of(model: PreTrainedModel) -> Family:
    """The family of a loaded model.

    Raises:
        TypeError: not a transformers model.
        ValueError: its model type is not supported.
    """
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"expected a transformers vision-language model, got {type(model).__name__}")
    check_supported(model.config.model_type)
    module, name = FAMILIES[model.config.model_type].split(":")
    return getattr(importlib.import_module(module), name)(model)
