"""Loads an LVLM and its processor from a folder or a hub name, running no code that came with it."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.utils import align_module_device
from huggingface_hub import snapshot_download
from transformers import (
    AutoModelForImageTextToText,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import (
    is_bitsandbytes_available,
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_kernels_available,
)

from pinhole.devices import device_named
from pinhole.families import check_supported
from pinhole.processing import load_processor

EMBEDDED = "embedded"
"""The name that stands for the LVLM which Pinhole ships."""
SHIPPED = {EMBEDDED: "checkpoint", "embedded-signs": "checkpoint_signs"}
"""Every such name, and its folder in `pinhole.scenes`; the second LVLM knows both embedded worlds."""

ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
"""Attention implementations by name; any other name is that of a kernel on the hub, with a "/"."""

Quantization = Literal["4bit", "8bit"]

ORIGINALS = {
    "llava_llama": "pinhole.models.vila:load_original",
    "internlmxcomposer2": "pinhole.models.xcomposer2:load_original",
}
"""What loads a published checkpoint whose `model_type` transformers does not know, as "module:function"."""

PORTS = {
    "vila": ("pinhole.models.vila", "VilaForConditionalGeneration", "VilaProcessor"),
    "xcomposer2": ("pinhole.models.xcomposer2", "XComposer2ForConditionalGeneration", "XComposer2Processor"),
}
"""Module, model class and processor class of each `model_type` that is Pinhole's own."""


def load(
    name: str,
    dtype: str = "auto",
    device: str | None = None,
    *,
    device_map: str | dict[str, Any] | None = None,
    attn_implementation: str | None = None,
    quantization: Quantization | None = None,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model, in evaluation mode, and its processor.

    Args:
        name: a checkpoint folder, a hub name, "embedded" or "embedded-signs".
        dtype: "auto" is the checkpoint's own; else a torch dtype's name, such as "bfloat16".
        device: such as "cuda"; None is the GPU of this process where there is one, else the CPU.
        device_map: spreads the model over devices, as in transformers: "auto", or a dict; `device` must be None.
        attn_implementation: one of `ATTENTION`, or the hub name of a kernel; None is transformers' choice.
        quantization: "4bit" (NF4, computing in the model's dtype) or "8bit", both by bitsandbytes: of every linear
            layer but the output head, those of the vision tower among them.

    Raises:
        ValueError: nothing there that can be loaded, a family that is not supported, or options that do not go
            together.
        ImportError: an option needs a package that is not installed.
    """
    if name in SHIPPED:
        from pinhole.scenes import checkpoint

        name = str(checkpoint(SHIPPED[name]))
    _check(dtype, device, device_map, attn_implementation, quantization)
    name = _located(name)
    config = _config_of(name)
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn_implementation}
    if quantization:
        options["quantization_config"] = _bitsandbytes(quantization, dtype, config)
    if device_map is None and device is None:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    if quantization or config.get("quantization_config"):
        device_map = device_map or {"": device}  # weights are packed while they are put on their device
    try:
        model, processor = _load(name, config["model_type"], {**options, "device_map": device_map})
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load a vision-language model from {name!r}: {error}") from error
    return (model if device_map else model.to(device)).eval(), processor


def _load(name: str, model_type: str, options: dict[str, Any]) -> tuple[PreTrainedModel, ProcessorMixin]:
    original, port = ORIGINALS.get(model_type), PORTS.get(model_type)
    if original:
        module, function = original.split(":")
        return getattr(importlib.import_module(module), function)(_folder(name), **options)
    if port:
        module, *kinds = port
        model_class, processor_class = (getattr(importlib.import_module(module), kind) for kind in kinds)
        return model_class.from_pretrained(_folder(name), **options), processor_class.from_pretrained(_folder(name))
    processor = load_processor(name)  # first, since it is read in no time
    return AutoModelForImageTextToText.from_pretrained(name, trust_remote_code=False, **options), processor


def _folder(name: str) -> Path:
    """The checkpoint's folder; what has a hub name is downloaded, without any code that it may hold."""
    if Path(name).is_dir():
        return Path(name)
    wanted = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors", "*.bin"]
    return Path(snapshot_download(name, allow_patterns=wanted))


def _config_of(name: str) -> dict[str, Any]:
    """What `config.json` says, as plain JSON: transformers knows no class for the ports' types.

    A type that is not supported is refused here, before gigabytes of weights are read.
    """
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
    except OSError as error:
        raise ValueError(f"cannot load a vision-language model from {name!r}: {error}") from error
    model_type = config.get("model_type")
    if model_type is None:
        raise ValueError(f"cannot load a vision-language model from {name!r}: its config.json has no model_type")
    if not {*ORIGINALS, *PORTS} & {model_type}:
        check_supported(model_type)
    return config


def _located(name: str) -> str:
    if name.count("/") <= 1 and not name.startswith((".", "/", "~")):
        near = difflib.get_close_matches(name, SHIPPED, n=1, cutoff=0.8)
        if near and not Path(name).is_dir():
            raise ValueError(f"no model {name!r}; did you mean {near[0]!r}?")
        return name
    name = str(Path(name).expanduser())
    if not Path(name).is_dir():
        raise ValueError(f"no folder {name!r}: give a checkpoint folder, a hub name, or {EMBEDDED!r}")
    return name


def _check(
    dtype: str, device: str | None, device_map: Any, attn_implementation: str | None, quantization: str | None
) -> None:
    """Refuse options before anything is read."""
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"no dtype {dtype!r}: give auto, float32, bfloat16 or float16")
    if device is not None and device_map is not None:
        raise ValueError(f"give a device or a device_map, not both; got {device!r} and {device_map!r}")
    if device is not None:
        device_named(device)
    if attn_implementation is not None:
        _check_attention(attn_implementation)
    if quantization not in (None, "4bit", "8bit"):
        raise ValueError(f"quantization is 4bit or 8bit, got {quantization!r}")
    if quantization and not is_bitsandbytes_available():
        raise ImportError(
            f"{quantization} quantization needs bitsandbytes 0.46.1 or later: pip install 'pinhole-vlm[quantization]'"
        )


def _check_attention(name: str) -> None:
    if name not in ATTENTION and "/" not in name:
        raise ValueError(
            f"no attention implementation {name!r}: give one of {', '.join(ATTENTION)}, or the hub name of a kernel "
            "such as kernels-community/flash-attn2"
        )
    there = {
        "flash_attention_2": ("flash-attn", is_flash_attn_2_available),
        "flash_attention_3": ("flash-attn-3", is_flash_attn_3_available),
    }
    if name in there and not there[name][1]() and not is_kernels_available():
        raise ImportError(
            f"{name} needs a GPU and the package {there[name][0]} (or kernels), which are not here: "
            "install it, or take sdpa"
        )
    if "/" in name and not is_kernels_available():
        raise ImportError(f"the attention kernel {name} needs the package kernels: pip install kernels, or take sdpa")


def _bitsandbytes(quantization: str, dtype: str, config: dict[str, Any]) -> BitsAndBytesConfig:
    before = config.get("quantization_config")
    if before:
        method = before.get("quant_method", "another method")
        raise ValueError(f"this checkpoint is quantized already, with {method}: leave the quantization out")
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    stored = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=stored if dtype == "auto" else dtype,
    )


def fingerprint(model: PreTrainedModel) -> str:
    """Twelve digits that tell one checkpoint from another: a digest of the first rows of its output head."""
    head = model.get_output_embeddings()
    with align_module_device(head):  # it may lie on the disk
        rows = head.weight[:64].detach().float().cpu().numpy()
    return hashlib.sha256(rows.tobytes()).hexdigest()[:12]
