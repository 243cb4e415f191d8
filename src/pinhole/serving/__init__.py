"""Serving with vLLM: a plug-in whose models read images and videos through a method.

vLLM loads `register` in each of its processes, by the entry point group `vllm.general_plugins`. Nothing changes for
models that are not asked for by the names in `MODELS`. vLLM is imported by the modules of its models (`model`,
`processing`, `positions`, `first_look`, `encoder_attention` and those of each family) and in the process that
`engine_worker` runs in an evaluation; the others need none.
"""

from __future__ import annotations

TESTED = ("0.32",)
"""The minor versions of vLLM that the tests have run with."""

MODELS = {
    "llava": "pinhole.serving.llava_models:PinholeLlavaForConditionalGeneration",
    "llava_next": "pinhole.serving.llava_models:PinholeLlavaNextForConditionalGeneration",
    "llava_onevision": "pinhole.serving.llava_models:PinholeLlavaOnevisionForConditionalGeneration",
    "qwen2_vl": "pinhole.serving.qwen_models:PinholeQwen2VLForConditionalGeneration",
    "qwen2_5_vl": "pinhole.serving.qwen_models:PinholeQwen2_5VLForConditionalGeneration",
}
"""For each `model_type` that can be served, vLLM's model that reads fewer visual tokens, as "module:architecture"."""


def register() -> None:
    """Tell vLLM the architectures. They are imported when one is asked for; calling this again does nothing new."""
    from vllm import ModelRegistry

    for target in MODELS.values():
        ModelRegistry.register_model(target.split(":")[1], target)


def untested(version: str) -> str | None:
    """What to say about a version of vLLM that was not tested with; None about one that was."""
    if ".".join(version.split(".")[:2]) in TESTED:
        return None
    return f"pinhole.serving was tested with vLLM {', '.join(TESTED)}; this is {version}, whose models may differ"
