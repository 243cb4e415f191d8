"""What the tiny models are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf

IMAGE, VIDEO, START, END, PAD, VOCABULARY, WIDTH = 250, 251, 252, 253, 0, 256, 32
WORDS = 240


BOTH = ("image", "video")


@dataclass(frozen=True)
class Animal:
    """One family, small.

    Attributes:
        build: makes the model: (seed, dtype).
        visual: makes what one row's images or videos are: (model, modality, count, generator, dtype) to the inputs of
            the encoder and, for each of them, the ids of its place in the prompt.
        modalities: what it reads.
        token_types: the input, if any, that says of each token whether it is text (0), image (1) or video (2).
    """

    build: Callable[..., Any]
    visual: Callable[..., tuple[dict[str, torch.Tensor], list[list[int]]]]
    modalities: tuple[str, ...] = ("image",)
    token_types: str | None = None


def text(kind: type = hf.LlamaConfig, **more: Any) -> Any:
    return kind(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "pad_token_id": PAD,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **more,
        }
    )


def tower(kind: type, side: int = 48, patch: int = 12, **more: Any) -> Any:
    return kind(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=side,
        patch_size=patch,
        **more,
    )


def randomized(kind: type, config: Any, seed: int, dtype: torch.dtype) -> Any:
    """A model whose logits depend clearly on content and position."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise * 1.2 / parameter[0].numel() ** 0.5)
        model.get_output_embeddings().weight[[IMAGE, VIDEO]] = 0  # a trained model never says a placeholder
    model.set_experts_implementation("eager")  # others have no float64
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model


def turn(generator: torch.Generator, count: int, choices: int) -> list[int]:
    """`count` choices in turn, from where the seed says."""
    return [(generator.initial_seed() + i) % choices for i in range(count)]
