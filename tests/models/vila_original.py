"""Tiny VILA-1.5 checkpoints in the published layout, with weights from a formula."""

from __future__ import annotations

import json
import zlib
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer, SiglipVisionConfig, SiglipVisionModel
from transformers.tokenization_utils_base import generate_merges

from models.vila_tiny import TEXT, VISION, WIDTH, picture

GOLDEN = Path(__file__).parent / "golden"
PICTURES = {"square": (64, 64), "wide": (97, 61), "tall": (50, 120)}
"""Name: (width, height) of the golden pictures; the place in the order is the seed."""


def golden_pictures() -> dict[str, Image.Image]:
    return {name: picture(*size, seed) for seed, (name, size) in enumerate(PICTURES.items())}


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "vicuna": {"projector": "mlp_downsample"},
    "llama_3": {
        "projector": "mlp_downsample",
        "aspect": "pad",
        "vision": {"image_size": 24},
        "text": {"rope_theta": 500000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
        "shards": 2,
    },
    "mlp2x": {"projector": "mlp2x_gelu", "text": {"num_key_value_heads": 4}, "binary": True},
    "linear": {"projector": "linear"},
}
"""The checkpoints that `write_original` makes."""


def _weights(shapes: dict[str, torch.Size], seed: str) -> dict[str, torch.Tensor]:
    """Float32 tensors of these shapes from NumPy's legacy generator, whose stream is frozen."""
    tensors = {}
    for name, shape in shapes.items():
        noise = np.random.RandomState(zlib.crc32(f"{seed}/{name}".encode())).uniform(-1, 1, tuple(shape))
        if len(shape) > 1:
            noise *= 1.2 * (3 / shape[-1]) ** 0.5
        else:
            noise = noise * 0.1 + name.endswith("weight")  # a norm's
        tensors[name] = torch.tensor(noise, dtype=torch.float32)
    return tensors


def _shapes(model_class: type, config: Any) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in model_class(config).state_dict().items()}


def _projector_shapes(kind: str) -> dict[str, torch.Size]:
    """The original's names: places in a Sequential."""
    width = VISION["hidden_size"]
    if kind == "mlp_downsample":
        sizes = {"1.": (4 * width,), "2.": (WIDTH, 4 * width), "4.": (WIDTH, WIDTH)}
    elif kind == "linear":
        sizes = {"": (WIDTH, width)}
    else:
        sizes = {"0.": (WIDTH, width), "2.": (WIDTH, WIDTH)}
    shapes = {f"layers.{place}weight": torch.Size(size) for place, size in sizes.items()}
    return shapes | {f"layers.{place}bias": torch.Size(size[:1]) for place, size in sizes.items()}


def _save(folder: Path, tensors: dict[str, torch.Tensor], shards: int = 1, binary: bool = False) -> None:
    write, name = partial(save_file, metadata={"format": "pt"}), "model.safetensors"
    if binary:
        write, name = torch.save, "pytorch_model.bin"
    if shards == 1:
        write(tensors, folder / name)
        return
    where = {key: f"part-{i % shards}-{name}" for i, key in enumerate(tensors)}
    for file in sorted(set(where.values())):
        write({key: tensor for key, tensor in tensors.items() if where[key] == file}, folder / file)
    _write(folder / f"{name}.index.json", {"metadata": {}, "weight_map": where})


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _write_llama_2_tokenizer(folder: Path) -> int:
    """A Llama 2 tokenizer with the pieces of golden/vila_tokenizer.model, as a tokenizer.json. Returns its size."""
    pieces = json.loads((GOLDEN / "vila.json").read_text(encoding="utf-8"))["pieces"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    LlamaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary), add_bos_token=True).save_pretrained(folder)
    _write(folder / "special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"})
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "legacy": False,
        "pad_token": "<unk>",
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
    }
    _write(folder / "tokenizer_config.json", settings)
    return len(pieces)


LLAMA_3_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def _write_llama_3_tokenizer(folder: Path) -> int:
    """A byte-level tokenizer with one merge and Llama 3's special tokens. Returns its size."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(x) for x in kept] + [chr(256 + i) for i in range(256 - len(kept))]
    vocabulary = {letter: i for i, letter in enumerate([*letters, "ĊĊ"])}
    specials = [
        {"id": len(vocabulary) + i, "content": token, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for i, token in enumerate(LLAMA_3_TOKENS)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bos, one, two = LLAMA_3_TOKENS[0], {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, one],
        "pair": [{"SpecialToken": {"id": bos, "type_id": 0}}, one, {"SpecialToken": {"id": bos, "type_id": 1}}, two],
        "special_tokens": {bos: {"id": bos, "ids": [len(vocabulary)], "tokens": [bos]}},
    }
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
    model |= {"vocab": vocabulary, "merges": ["Ċ Ċ"]}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": specials, "normalizer": None}
    tokenizer |= {"pre_tokenizer": level, "post_processor": template, "decoder": level, "model": model}
    _write(folder / "tokenizer.json", tokenizer)
    names = {"bos_token": bos, "eos_token": "<|end_of_text|>"}
    _write(folder / "special_tokens_map.json", names)
    _write(folder / "tokenizer_config.json", {**names, "tokenizer_class": "PreTrainedTokenizerFast"})
    return len(vocabulary) + len(specials)


def write_original(folder: Path, kind: str = "vicuna") -> Path:
    """Write one of CHECKPOINTS in the layout of NVIDIA's, and return the folder."""
    made = CHECKPOINTS[kind]
    llm, tower, projector = (folder / name for name in ("llm", "vision_tower", "mm_projector"))
    for part in (llm, tower, projector):
        part.mkdir(parents=True)
    size = (_write_llama_3_tokenizer if kind == "llama_3" else _write_llama_2_tokenizer)(llm)
    text = {**TEXT, "vocab_size": size, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, **made.get("text", {})}
    vision = {**VISION, **made.get("vision", {})}
    side = vision["image_size"]
    _save(llm, _weights(_shapes(LlamaForCausalLM, LlamaConfig(**deepcopy(text))), "llm"), made.get("shards", 1))
    named = {f"vision_model.{k}": v for k, v in _shapes(SiglipVisionModel, SiglipVisionConfig(**vision)).items()}
    _save(tower, _weights(named, "vision_tower"))
    _save(projector, _weights(_projector_shapes(made["projector"]), "mm_projector"), binary=made.get("binary", False))
    llm_config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "torch_dtype": "float32", **text}
    tower_config = {"model_type": "siglip_vision_model", "architectures": ["SiglipVisionModel"], **vision}
    projector_config = {"model_type": "v2l_projector", "architectures": ["MultimodalProjector"]}
    projector_config["mm_projector_type"] = made["projector"]
    _write(llm / "config.json", llm_config)
    _write(tower / "config.json", tower_config)
    _write(projector / "config.json", projector_config)
    preprocessor = {"do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3}
    preprocessor |= {"image_std": [0.5] * 3, "resample": 3, "rescale_factor": 1 / 255}
    preprocessor |= {"image_processor_type": "SiglipImageProcessor", "size": {"height": side, "width": side}}
    _write(tower / "preprocessor_config.json", preprocessor)
    root = {
        "model_type": "llava_llama",
        "architectures": ["LlavaLlamaModel"],
        "llm_cfg": llm_config,
        "vision_tower_cfg": tower_config,
        "mm_projector_cfg": projector_config,
        "hidden_size": WIDTH,
        "mm_hidden_size": VISION["hidden_size"],
        "image_aspect_ratio": made.get("aspect", "resize"),
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "cls_patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "s2": False,
        "num_video_frames": 8,
    }
    _write(folder / "config.json", root)
    return folder
