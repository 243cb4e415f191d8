"""Loads a checkpoint in the layout in which InternLM-XComposer-2.5 is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig, GenerationConfig

from pinhole.models.xcomposer2.configuration import XComposer2Config, XComposer2TextConfig
from pinhole.models.xcomposer2.image_processing import XComposer2ImageProcessor
from pinhole.models.xcomposer2.modeling import XComposer2ForConditionalGeneration
from pinhole.models.xcomposer2.processing import IMAGE_TOKEN, XComposer2Processor
from pinhole.models.xcomposer2.tokenization import TURN_END, load_tokenizer

KEY_MAPPING = {
    r"^model\.tok_embeddings\.": "model.language_model.embed_tokens.",
    r"^model\.norm\.": "model.language_model.norm.",
    r"^model\.layers\.": "model.language_model.layers.",
    r"\.attention_norm\.": ".input_layernorm.",
    r"\.ffn_norm\.": ".post_attention_layernorm.",
    r"\.attention\.wqkv\.": ".self_attn.qkv_proj.base.",
    r"\.attention\.wo\.": ".self_attn.o_proj.base.",
    r"\.feed_forward\.w1\.": ".mlp.gate_proj.base.",
    r"\.feed_forward\.w2\.": ".mlp.down_proj.base.",
    r"\.feed_forward\.w3\.": ".mlp.up_proj.base.",
    r"\.base\.Plora_A\.": ".lora_a.",
    r"\.base\.Plora_B\.": ".lora_b.",
    r"^output\.": "lm_head.",
    r"^vit\.vision_tower\.vision_model\.": "model.vision_tower.",
    r"^vision_proj\.0\.": "model.multi_modal_projector.linear_1.",
    r"^vision_proj\.2\.": "model.multi_modal_projector.linear_2.",
    r"^plora_glb_GN$": "model.multi_modal_projector.view_end",
    r"^plora_sub_GN$": "model.multi_modal_projector.row_end",
}
"""What a weight is called here, by what it is called there; the patterns apply one after the other."""

UNREAD = ("video_mem_proj.", "rotary_emb.inv_freq", "embeddings.position_ids")
"""Parts of the names of weights that published checkpoints have and this model does not read."""

_SHARED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)


def load_original(folder: Path, **kwargs: Any) -> tuple[XComposer2ForConditionalGeneration, XComposer2Processor]:
    """A published checkpoint as a native model, in evaluation mode, and its processor. Runs no code from the folder.

    Args:
        folder: has `config.json`, `tokenizer.model` and the weights, as safetensors or as `.bin` files; CLIP's sizes
            come from a folder in it with a `clip_vision_model` configuration, else they are ViT-L/14's at 560 pixels.
        kwargs: for `from_pretrained`: dtype, device_map, attn_implementation, quantization_config and so on.

    Raises:
        ValueError: another model, or weights that are missing or unexpected; the message names them.
        ImportError: sentencepiece or protobuf is not installed.
    """
    folder = Path(folder)
    config = convert_config(folder)
    tokenizer = load_tokenizer(folder / "tokenizer.model")
    config.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    model, report = XComposer2ForConditionalGeneration.from_pretrained(
        folder, config=config, key_mapping=KEY_MAPPING, output_loading_info=True, **kwargs
    )
    _check(folder, report)
    model._weight_conversions = []  # saved under the names it has now
    if config.image_token_id >= config.text_config.vocab_size:
        model.resize_token_embeddings(config.image_token_id + 1, mean_resizing=False)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN_END)],
        suppress_tokens=[config.image_token_id],
    )
    images = XComposer2ImageProcessor(
        tile_size=config.vision_config.image_size, patch_size=config.vision_config.patch_size
    )
    return model.eval(), XComposer2Processor(images, tokenizer)


def convert_config(folder: Path) -> XComposer2Config:
    """The native configuration of a published checkpoint.

    Raises:
        ValueError: no `config.json`, or another model's.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"no {file}: give the folder of an InternLM-XComposer-2.5 checkpoint")
    original = json.loads(file.read_text(encoding="utf-8"))
    if original.get("model_type") != "internlmxcomposer2":
        raise ValueError(
            f"{file} is a model of type {original.get('model_type')!r}: expected 'internlmxcomposer2', "
            "the type of InternLM-XComposer-2.5"
        )
    scaling = original.get("rope_scaling") or {"type": "default"}
    rope = {"rope_type": scaling["type"], "rope_theta": float(original.get("rope_theta", 10000))}
    if "factor" in scaling:
        rope["factor"] = float(scaling["factor"])
    text = XComposer2TextConfig(
        **{name: original[name] for name in _SHARED if original.get(name) is not None},
        attention_bias=original.get("bias", True),
        rope_parameters=rope,
        dtype=original.get("torch_dtype"),
    )
    return XComposer2Config(vision_config=_vision_config(folder), text_config=text, dtype=original.get("torch_dtype"))


def _vision_config(folder: Path) -> CLIPVisionConfig | None:
    """The sizes that a folder within the checkpoint's gives, None for the published ones."""
    for file in sorted(folder.glob("*/config.json")):
        sizes = json.loads(file.read_text(encoding="utf-8"))
        if sizes.get("model_type") == "clip_vision_model":
            return CLIPVisionConfig(**{k: v for k, v in sizes.items() if k in CLIPVisionConfig().to_dict()})
    return None


def _check(folder: Path, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not any(part in key for part in UNREAD))
    if missing or unexpected:
        raise ValueError(
            f"{folder} is no InternLM-XComposer-2.5 checkpoint: "
            f"missing weights: {', '.join(missing) or 'none'}; unexpected weights: {', '.join(unexpected) or 'none'}"
        )
