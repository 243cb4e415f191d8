"""Loads an LVLM and its processor from a folder or a hub name, running no code that came with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from pinhole.families import check_supported

EMBEDDED = "embedded"
"""The name that stands for the LVLM which Pinhole ships."""


def load(name: str, dtype: str = "auto", device: str | None = None) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model, in evaluation mode, and its processor.

    Args:
        name: a checkpoint folder, a hub name, or "embedded".
        dtype: "auto" is the checkpoint's own; else a torch dtype's name, such as "bfloat16".
        device: such as "cuda"; None is a GPU where there is one, else the CPU.

    Raises:
        ValueError: nothing there that can be loaded, or a family that is not supported.
    """
    if name == EMBEDDED:
        from pinhole.scenes import checkpoint

        name = str(checkpoint())
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ValueError(f"no dtype {dtype!r}: give auto, float32, bfloat16 or float16")
    if name.startswith((".", "/", "~")):
        name = str(Path(name).expanduser())
        if not Path(name).is_dir():
            raise ValueError(f"no folder {name!r}: give a checkpoint folder, a hub name, or {EMBEDDED!r}")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model_type = AutoConfig.from_pretrained(name).model_type
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load a vision-language model from {name!r}: {error}") from error
    check_supported(model_type)  # before gigabytes of weights are read
    try:
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype).to(device).eval()
        processor = AutoProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot load a vision-language model from {name!r}: {error}") from error
    return model, processor


def fingerprint(model: PreTrainedModel) -> str:
    """Twelve digits that tell one checkpoint from another: a digest of the first rows of its output head."""
    head = model.get_output_embeddings().weight[:64].detach().float().cpu().numpy()
    return hashlib.sha256(head.tobytes()).hexdigest()[:12]
