"""Tiny random checkpoints in the layouts of published ones: what both transformers and vLLM can load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WIDTH, VOCABULARY, SIDE, PATCH = 128, 320, 56, 7
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
LLAVA = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>"]
QWEN = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
MARKS = {
    "image_token_id": 5,
    "video_token_id": 6,
    "vision_start_token_id": 3,
    "vision_end_token_id": 4,
}


def tokenizer(special: list[str]) -> hf.PreTrainedTokenizerFast:
    """Bytes behind the special tokens: any text has ids, and texts can be put together id by id."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *letters])}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    names = {"eos_token": special[2], "pad_token": special[3] if special is LLAVA else special[0]}
    if special is QWEN:
        names |= {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    return hf.PreTrainedTokenizerFast(tokenizer_object=words, extra_special_tokens=special, **names)


def template(image: str, video: str) -> str:
    """A chat template that prints each part."""
    return (
        "{% for m in messages %}{{ m.role }}: {% if m.content is string %}{{ m.content }}{% else %}"
        "{% for c in m.content %}{% if c.type == 'image' %}" + image + "{% elif c.type == 'video' %}" + video + ""
        "{% elif c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )


def text(kind: type, **more: Any) -> Any:
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        tie_word_embeddings=False,
        **more,
    )


def tower(kind: type, **more: Any) -> Any:
    return kind(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        **more,
    )


def pictures(kind: type, **more: Any) -> Any:
    return kind(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, **more)


def llava() -> tuple[Any, Any]:
    config = hf.LlavaConfig(
        vision_config=tower(hf.CLIPVisionConfig), text_config=text(hf.LlamaConfig), image_token_id=4
    )
    parts = {"image_processor": pictures(hf.CLIPImageProcessor), "tokenizer": tokenizer(LLAVA)}
    settings = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return hf.LlavaForConditionalGeneration(config), hf.LlavaProcessor(
        **parts, **settings, chat_template=template("<image>", "")
    )


def llava_next() -> tuple[Any, Any]:
    config = hf.LlavaNextConfig(
        vision_config=tower(hf.CLIPVisionConfig),
        text_config=text(hf.LlamaConfig),
        image_token_id=4,
        image_grid_pinpoints=PINPOINTS,
    )
    images = pictures(hf.LlavaNextImageProcessor, image_grid_pinpoints=PINPOINTS)
    settings = {"patch_size": PATCH, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return hf.LlavaNextForConditionalGeneration(config), hf.LlavaNextProcessor(
        image_processor=images, tokenizer=tokenizer(LLAVA), **settings, chat_template=template("<image>", "")
    )


def llava_onevision() -> tuple[Any, Any]:
    config = hf.LlavaOnevisionConfig(
        vision_config=tower(hf.SiglipVisionConfig, vision_use_head=False),
        text_config=text(hf.Qwen2Config),
        image_token_id=4,
        video_token_id=5,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_9",
    )
    square = {"size": {"height": SIDE, "width": SIDE}}
    return hf.LlavaOnevisionForConditionalGeneration(config), hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(**square, image_grid_pinpoints=PINPOINTS),
        video_processor=hf.LlavaOnevisionVideoProcessor(**square),
        tokenizer=tokenizer(LLAVA),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=template("<image>", "<video>"),
    )


def _qwen(name: str, kind: str, vision: dict[str, Any]) -> tuple[Any, Any]:
    shared = {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": 2, "num_heads": 2}
    words = text(getattr(getattr(hf.models, kind), f"{name}TextConfig"), rope_parameters=ROPE)
    config = getattr(hf, f"{name}Config")(
        text_config=words.to_dict(), vision_config={**shared, **vision}, tie_word_embeddings=False, **MARKS
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 64}
    processor = getattr(hf, f"{name}Processor")(
        image_processor=hf.Qwen2VLImageProcessor(size=size),
        video_processor=hf.Qwen2VLVideoProcessor(size=size),
        tokenizer=tokenizer(QWEN),
        chat_template=template(
            "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"
        ),
    )
    return getattr(hf, f"{name}ForConditionalGeneration")(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    return _qwen("Qwen2VL", "qwen2_vl", {"embed_dim": 64, "hidden_size": WIDTH, "mlp_ratio": 2})


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {"hidden_size": 64, "out_hidden_size": WIDTH, "intermediate_size": 128, "window_size": 56}
    return _qwen("Qwen2_5_VL", "qwen2_5_vl", {**vision, "fullatt_block_indexes": [1], "tokens_per_second": 2})


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
}


def write(family: str, folder: Path) -> Path:
    """The checkpoint of a family, with weights under which answers depend clearly on content and position."""
    model, processor = FAMILIES[family]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in model.float().named_parameters():
            if weights.dim() >= 2 or "newline" in name:
                fan = weights[0].numel() if weights.dim() >= 2 else 1
                weights.copy_(torch.randn(weights.shape, generator=generator) * 1.2 / fan**0.5)
        model.get_output_embeddings().weight[:7] = 0  # a trained model never says a placeholder
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _with_published_names(folder / "model.safetensors")
    return folder


def _with_published_names(file: Path) -> None:
    """transformers 5 leaves a level out of a tower's names that every published checkpoint has, and vLLM wants."""
    weights = {}
    for name, value in load_file(file).items():
        head, tower, rest = name.partition("vision_tower.")
        published = tower and not rest.startswith("vision_model.")
        weights[f"{head}{tower}vision_model.{rest}" if published else name] = value
    save_file(weights, file, metadata={"format": "pt"})
