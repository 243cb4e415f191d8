"""Loads VILA-1.5 checkpoints as NVIDIA published them: a folder with llm/, vision_tower/ and mm_projector/ in it."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AddedToken, AutoTokenizer, GenerationConfig, LlamaConfig, PreTrainedTokenizerBase
from transformers.utils import is_protobuf_available, is_sentencepiece_available

from pinhole.models.vila.configuration import VilaConfig
from pinhole.models.vila.modeling import VilaForConditionalGeneration
from pinhole.models.vila.processing import CHAT_TEMPLATES, VilaImageProcessor, VilaProcessor

IMAGE_TOKEN = "<image>"
_UNREAD = re.compile(r"model\.vision_tower\.(head\.|embeddings\.position_ids)|.*\.rotary_emb\.inv_freq")


def load_original(
    folder: Path | str, conversation: str | None = None, **kwargs: Any
) -> tuple[VilaForConditionalGeneration, VilaProcessor]:
    """A model, in evaluation mode, and its processor from a published checkpoint, such as VILA1.5-3b.

    The tokenizer gets a token for images. Where the embedding table has no row for its id, table and head get one that
    is the mean of their rows: it is never read, and its probability is at most 1 / (rows + 1).

    Args:
        folder: the checkpoint.
        conversation: a key of `CHAT_TEMPLATES`; None is "llama_3" for Llama 3's vocabulary, else "vicuna_v1".
        **kwargs: for `from_pretrained`, such as `dtype`, `device_map`, `attn_implementation`, `quantization_config`.

    Raises:
        ValueError: a VILA that is not supported (another vision tower than SigLIP, S2 scales, image start and end
            tokens, another LLM than Llama), weights missing or left over, an unknown conversation format.
        ImportError: a tokenizer.model without the packages that read one.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    tokenizer = _load_tokenizer(folder / "llm")
    if conversation is None:
        conversation = "llama_3" if "<|start_header_id|>" in tokenizer.get_vocab() else "vicuna_v1"
    if conversation not in CHAT_TEMPLATES:
        raise ValueError(f"no conversation format {conversation!r}: give one of {', '.join(CHAT_TEMPLATES)}")
    config = VilaConfig(
        vision_config=_read_json(folder / "vision_tower" / "config.json"),
        text_config=LlamaConfig.from_pretrained(folder / "llm"),
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        projector_type=_read_json(folder / "mm_projector" / "config.json")["mm_projector_type"],
        vision_feature_layer=settings["mm_vision_select_layer"],
    )
    weights = _add_image_row(_rename(folder, config), config)
    _check_names(weights, config)
    model = VilaForConditionalGeneration.from_pretrained(None, config=config, state_dict=weights, **kwargs)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=_ends(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[config.image_token_id],
    )
    image_processor = VilaImageProcessor.from_pretrained(
        folder / "vision_tower", image_aspect_ratio=settings["image_aspect_ratio"] or "resize"
    )
    processor = VilaProcessor(
        image_processor, tokenizer, CHAT_TEMPLATES[conversation], IMAGE_TOKEN, config.image_seq_length
    )
    return model, processor


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"no {path}: give the folder of a VILA-1.5 checkpoint, with llm, vision_tower, mm_projector")
    return json.loads(path.read_text(encoding="utf-8"))


def _read_settings(folder: Path) -> dict[str, Any]:
    """config.json with the public code's defaults, once it is known to be of a VILA that this port runs."""
    defaults = {"mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "image_aspect_ratio": None}
    settings = defaults | _read_json(folder / "config.json")
    llm, tower = (_read_json(folder / name / "config.json") for name in ("llm", "vision_tower"))
    allowed: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "model_type": (settings.get("model_type"), ("llava_llama",)),
        "vision_tower model_type": (tower.get("model_type"), ("siglip_vision_model",)),
        "llm model_type": (llm.get("model_type"), ("llama",)),
        "mm_vision_select_feature": (settings["mm_vision_select_feature"], ("cls_patch",)),
        "image_aspect_ratio": (settings["image_aspect_ratio"], (None, "resize", "pad")),
        "s2": (settings.get("s2"), (None, False)),
        "mm_use_im_start_end": (settings.get("mm_use_im_start_end"), (None, False)),
    }
    for name, (value, values) in allowed.items():
        if value not in values:
            raise ValueError(
                f"{folder} has {name} {value!r}, which is not supported, only {' or '.join(map(repr, values))}: "
                "VILA1.5-3b, VILA1.5-13b and Llama-3-VILA1.5-8B are; VILA1.5-40b (InternViT) and the s2 models are not"
            )
    return settings


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The LLM's tokenizer, padding on the left, with a token for images."""
    if not (folder / "tokenizer.json").is_file() and not (is_sentencepiece_available() and is_protobuf_available()):
        raise ImportError(f"{folder} has a tokenizer.model, which takes `pip install sentencepiece protobuf` to read")
    tokenizer = AutoTokenizer.from_pretrained(folder, legacy=False, padding_side="left", trust_remote_code=False)
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, normalized=False, special=True)], special_tokens=True)
    tokenizer.chat_template = None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _ends(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that end an answer in either conversation format."""
    ends = {tokenizer.eos_token, "<|eot_id|>", "<|end_of_text|>"} & tokenizer.get_vocab().keys()
    return sorted(tokenizer.convert_tokens_to_ids(list(ends)))


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, sharded or not, on the CPU."""
    read_bin = partial(torch.load, map_location="cpu", weights_only=True)
    for name, read in (("model.safetensors", load_file), ("pytorch_model.bin", read_bin)):
        index, files = folder / f"{name}.index.json", [name]
        if index.is_file():
            files = sorted(set(_read_json(index)["weight_map"].values()))
        elif not (folder / name).is_file():
            continue
        return {key: tensor for file in files for key, tensor in read(folder / file).items()}
    raise ValueError(f"no weights in {folder}: it needs model.safetensors or pytorch_model.bin, or their index")


def _rename(folder: Path, config: VilaConfig) -> dict[str, torch.Tensor]:
    """The checkpoint's weights under this port's names, without those that VILA does not read."""
    # In the original the projector is one Sequential: downsampling, normalization and activations have places in it.
    first = 2 if config.projector_type == "mlp_downsample" else 0
    renamed = {}
    for part in ("llm", "vision_tower", "mm_projector"):
        for key, tensor in _read_weights(folder / part).items():
            name = {
                "llm": re.sub(r"^model\.", "model.language_model.", key),
                "vision_tower": "model.vision_tower." + key.removeprefix("vision_model."),
                "mm_projector": "model.multi_modal_projector." + _projector_name(key, first),
            }[part]
            if not _UNREAD.match(name):
                renamed[name] = tensor
    return renamed


def _projector_name(key: str, first: int) -> str:
    """Of `layers.<place>.weight`: places `first`, `first` + 2, ... are linear, the one before is a norm."""
    found = re.fullmatch(r"layers\.(?:(\d+)\.)?(weight|bias)", key)
    if found is None:
        return key
    place = int(found[1] or 0) - first
    return f"norm.{found[2]}" if place < 0 else f"layers.{place // 2}.{found[2]}"


def _add_image_row(weights: dict[str, torch.Tensor], config: VilaConfig) -> dict[str, torch.Tensor]:
    """Lengthen embedding table and head by mean rows until the image token has one."""
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        if name in weights:
            missing = max(0, config.image_token_id + 1 - len(weights[name]))
            mean = weights[name].float().mean(0, keepdim=True).to(weights[name].dtype)
            weights[name] = torch.cat([weights[name], mean.expand(missing, -1)])
    config.text_config.vocab_size = max(config.text_config.vocab_size, config.image_token_id + 1)
    return weights


def _check_names(weights: dict[str, torch.Tensor], config: VilaConfig) -> None:
    """Raise a ValueError that names the weights which are missing, left over or of another shape."""
    with torch.device("meta"):
        model = VilaForConditionalGeneration(config)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        del expected["lm_head.weight"]
        weights.pop("lm_head.weight", None)
    wrong = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": {x for x in expected.keys() & weights.keys() if expected[x] != weights[x].shape},
    }
    if any(wrong.values()):
        raise ValueError(
            "the checkpoint's weights are not those of its config.json: "
            + "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in wrong.items() if names)
        )
