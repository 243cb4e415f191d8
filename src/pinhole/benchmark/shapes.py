"""Named architectures: published sizes, random weights, and a prompt with one picture for each.

Time and memory do not depend on what the weights are, so that nothing has to be downloaded to measure them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen2VLConfig,
    SiglipVisionConfig,
)

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Shape:
    """A published architecture and a picture for it.

    Attributes:
        llm: settings of the LLM.
        config: the model's configuration, made of these.
        picture: what the encoder gets of one picture, float32 noise.
        visual: the visual tokens that come out.
        around: the tokens that stand right before and right behind them.
    """

    llm: dict[str, Any]
    config: Callable[[dict[str, Any]], PretrainedConfig]
    picture: Callable[[torch.Generator], Inputs]
    visual: int
    around: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def at_depth(self, layers: int | None) -> PretrainedConfig:
        """Its configuration, with so many layers in the LLM; None is all. The encoder keeps its depth."""
        return self.config(self.llm if layers is None else {**self.llm, "num_hidden_layers": layers})


VICUNA_7B = {
    "vocab_size": 32064,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 4096,
}
VICUNA_13B = {
    **VICUNA_7B,
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
QWEN2_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32768,
}
TINY = {
    "vocab_size": 1024,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
CLIP = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}
TINY_CLIP = {**CLIP, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
SIGLIP = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
TINY_SIDE = 168
GRID = (72, 72)
"""Patches of Qwen2-VL's picture: 1008 x 1008 pixels, two by two of them one visual token."""


def _llava(llm: dict[str, Any]) -> PretrainedConfig:
    return LlavaConfig(vision_config=CLIPVisionConfig(**CLIP), text_config=LlamaConfig(**llm))


def _tiny(llm: dict[str, Any]) -> PretrainedConfig:
    vision = CLIPVisionConfig(**{**TINY_CLIP, "image_size": TINY_SIDE})
    return LlavaConfig(vision_config=vision, text_config=LlamaConfig(**llm), image_token_index=TINY["vocab_size"] - 1)


def _llava_next(llm: dict[str, Any]) -> PretrainedConfig:
    return LlavaNextConfig(vision_config=CLIPVisionConfig(**CLIP), text_config=LlamaConfig(**llm))


def _llava_onevision(llm: dict[str, Any]) -> PretrainedConfig:
    rope = {"rope_type": "default", "rope_theta": 1e6}
    text = Qwen2Config(**llm, vocab_size=152000, rope_parameters=rope)
    return LlavaOnevisionConfig(vision_config=SiglipVisionConfig(**SIGLIP), text_config=text)


def _qwen2_vl(llm: dict[str, Any]) -> PretrainedConfig:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text = {**llm, "vocab_size": 152064, "rope_parameters": rope}
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": llm["hidden_size"], "mlp_ratio": 4, "num_heads": 16}
    return Qwen2VLConfig(text_config=text, vision_config=vision)


def _square(side: int) -> Callable[[torch.Generator], Inputs]:
    return lambda generator: {"pixel_values": torch.randn(1, 3, side, side, generator=generator)}


def _tiles(side: int) -> Callable[[torch.Generator], Inputs]:
    """An overview and two by two tiles."""

    def picture(generator: torch.Generator) -> Inputs:
        pixels = torch.randn(1, 5, 3, side, side, generator=generator)
        return {"pixel_values": pixels, "image_sizes": torch.tensor([[2 * side, 2 * side]])}

    return picture


def _patches(generator: torch.Generator) -> Inputs:
    rows, columns = GRID
    pixels = torch.randn(rows * columns, 3 * 2 * 14 * 14, generator=generator)
    return {"pixel_values": pixels, "image_grid_thw": torch.tensor([[1, rows, columns]])}


SHAPES = {
    "llava-1.5-7b": Shape(VICUNA_7B, _llava, _square(336), 24 * 24),
    "llava-1.5-13b": Shape(VICUNA_13B, _llava, _square(336), 24 * 24),
    "llava-next-7b": Shape(VICUNA_7B, _llava_next, _tiles(336), 24 * 24 + 48 * (48 + 1)),
    "llava-onevision-7b": Shape(QWEN2_7B, _llava_onevision, _tiles(384), 27 * 27 + 54 * (54 + 1)),
    "qwen2-vl-7b": Shape(QWEN2_7B, _qwen2_vl, _patches, GRID[0] * GRID[1] // 4, ((151652,), (151653,))),
    "tiny": Shape(TINY, _tiny, _square(TINY_SIDE), (TINY_SIDE // 14) ** 2),
}
"""The architectures by name. Grids of patches, and a newline for each row of those that are in tiles."""


def parse_shape(text: str) -> tuple[Shape, int | None] | None:
    """An architecture as written on the command line, `name` or `name:layers=N`, and N; None where it is none.

    Raises:
        ValueError: what stands behind a known name cannot be read, or something unknown is written like a shape.
    """
    name, colon, rest = text.partition(":")
    if name not in SHAPES:
        near = difflib.get_close_matches(name, SHAPES, n=1, cutoff=0.8)
        is_mistyped = bool(near) and "/" not in name and not Path(name).exists()
        if is_mistyped or re.fullmatch(r"layers=.*", rest):
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no architecture {name!r}{hint} (there are {', '.join(SHAPES)})")
        return None
    layers = re.fullmatch(r"layers=([1-9][0-9]*)", rest)
    if colon and not layers:
        raise ValueError(f"cannot read {text!r}: the depth of an architecture's LLM is written {name}:layers=2")
    return SHAPES[name], int(layers[1]) if layers else None
