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
    "qwen3_vl_moe": "pinhole.families.qwen3_vl_moe:Qwen3VLMoe",
    "internvl": "pinhole.families.internvl:InternVL",
    "idefics3": "pinhole.families.idefics3:Idefics3",
    "smolvlm": "pinhole.families.smolvlm:SmolVLM",
    "gemma3": "pinhole.families.gemma3:Gemma3",
    "glm4v": "pinhole.families.glm4v:Glm4V",
    "glm46v": "pinhole.families.glm46v:Glm46V",
    "glm4v_moe": "pinhole.families.glm4v_moe:Glm4VMoe",
    "vipllava": "pinhole.families.vipllava:VipLlava",
    "mistral3": "pinhole.families.mistral3:Mistral3",
    "aya_vision": "pinhole.families.aya_vision:AyaVision",
    "cohere2_vision": "pinhole.families.cohere2_vision:Cohere2Vision",
    "ovis2": "pinhole.families.ovis2:Ovis2",
    "got_ocr2": "pinhole.families.got_ocr2:GotOcr2",
    "deepseek_vl": "pinhole.families.deepseek_vl:DeepseekVL",
    "vila": "pinhole.families.vila:Vila",
    "xcomposer2": "pinhole.families.xcomposer2:XComposer2",
}
"""Class of each supported `model.config.model_type`, as "module:Class"."""

_RECURRENT = (
    "its LLM has recurrent layers, which read the padding between the turns of a batch of dialogues and cannot take "
    "back what they have read"
)
_TIMM = "its encoder is the package timm's, with which nothing here has been tried"
UNSUPPORTED = {
    "fast_vlm": _TIMM,
    "janus": "its `generate` draws images too and does not take the arguments that `generate` takes elsewhere",
    "lfm2_vl": _RECURRENT,
    "llama4": "transformers projects its features only behind the place where reduced ones can be put in",
    "paligemma": "its LLM reads a prompt in both directions, so turn by turn it understands other than all at once",
    "perception_lm": _TIMM,
    "qwen3_5": _RECURRENT,
    "qwen3_5_moe": _RECURRENT,
}
"""Model types that were examined and do not pass the contract, each with the reason."""


def check_supported(model_type: str) -> None:
    """Refuse a model type that has no family.

    Raises:
        ValueError: it is not supported; the message says why, where that is known, or lists those that are.
    """
    if model_type in UNSUPPORTED:
        raise ValueError(f"no support for models of type {model_type!r}: {UNSUPPORTED[model_type]}")
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
