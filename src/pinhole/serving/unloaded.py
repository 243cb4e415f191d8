"""A checkpoint that another process loads: what can be known of it without its weights."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from transformers import AutoConfig, GenerationConfig, PreTrainedModel, ProcessorMixin

from pinhole.processing import load_processor
from pinhole.serving.reducer import blueprint
from pinhole.serving.settings import architecture

DTYPES = ("auto", "float32", "bfloat16", "float16")
HEADS = ("lm_head.weight", "embed_tokens.weight")
"""How the names of the output head's weights end; the second where the head is tied to the embeddings."""
_ROWS = 64


def unloaded(name: str, dtype: str = "auto") -> tuple[PreTrainedModel, ProcessorMixin]:
    """A model that can be served, on the meta device, and its processor.

    The only weights there are the first rows of the output head, by which `pinhole.loading.fingerprint` tells
    checkpoints apart.

    Args:
        name: checkpoint folder or hub name.
        dtype: "auto" is the checkpoint's own.

    Raises:
        OSError: no such checkpoint.
        ValueError: it cannot be served, or there is no such dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"no dtype {dtype!r}: vLLM has {', '.join(DTYPES)}")
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    architecture(config.model_type)
    processor, rows = load_processor(name), _head_rows(name)
    config.dtype = getattr(torch, dtype) if dtype != "auto" else config.dtype or rows.dtype
    model = blueprint(config).model
    model.get_output_embeddings().weight = torch.nn.Parameter(rows.to(model.dtype), requires_grad=False)
    with contextlib.suppress(OSError):  # without the file, what the configuration says
        model.generation_config = GenerationConfig.from_pretrained(name)
    return model, processor


def _head_rows(name: str) -> torch.Tensor:
    """The first rows of the output head as the checkpoint holds them."""
    folder = Path(name) if Path(name).is_dir() else Path(snapshot_download(name, allow_patterns="*.safetensors"))
    found: dict[str, tuple[Path, str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118 - the file is no mapping
                found |= {end: (path, key) for end in HEADS if key.endswith(end)}
    for end in HEADS:
        if end in found:
            path, key = found[end]
            with safe_open(path, "pt") as file:
                return file.get_slice(key)[:_ROWS]
    raise ValueError(f"no *.safetensors with an output head ({' or '.join(HEADS)}) in {name!r}: convert the checkpoint")
