"""Tiny random-weight models and matching inputs: nothing is downloaded, nothing is trained."""

from __future__ import annotations

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from pinhole.method import InputMethod
from pinhole.methods.metacompress import MetaCompress
from pinhole.registry import MethodSpec, method_class, method_names, required_of

IMAGE, PAD, VOCABULARY, WIDTH, SIDE, PATCH = 250, 0, 256, 32, 48, 8
VISUAL = (SIDE // PATCH) ** 2


def llava(seed: int = 0, dtype: torch.dtype = torch.float64, width: int = WIDTH) -> LlavaForConditionalGeneration:
    """A LLaVA-1.5 with 36 visual tokens whose logits depend clearly on content and position."""
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, vision_feature_layer=-2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise * 1.2 / parameter.shape[-1] ** 0.5)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model


def inputs(
    batch: int = 1, side: str = "left", seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Rows of unlike length; the second row has two images, the others one."""
    generator = torch.Generator().manual_seed(100 + seed)

    def words(count: int) -> list[int]:
        return torch.randint(3, 240, (count,), generator=generator).tolist()

    rows, images = [], 0
    for i in range(batch):
        row = words(3 + 2 * i)
        for _ in range(2 if i == 1 else 1):
            row += [IMAGE] * VISUAL + words(2)
            images += 1
        rows.append(row + words(4 - i))
    length = max(map(len, rows))
    ids = torch.full((batch, length), PAD)
    mask = torch.zeros(batch, length, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(length - len(row), None) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=generator, dtype=torch.float64).to(dtype)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}


def words(count: int, seed: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """A turn of text alone."""
    ids = torch.randint(3, 240, (batch, count), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def method(name: str, keep: float | int = 0.25, width: int = WIDTH):
    """A method of the registry, with untrained weights in float64 where it learns."""
    made = MethodSpec.parse(name).build(width, keep)
    return made.double() if isinstance(made, torch.nn.Module) else made


METHODS = [
    name
    for name in method_names()
    if issubclass(method_class(name), InputMethod) and not required_of(method_class(name))
]
"""Those at the input that need nothing but an image."""
__all__ = ["METHODS", "MetaCompress", "inputs", "llava", "method", "words"]
