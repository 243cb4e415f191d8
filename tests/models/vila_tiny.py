"""A tiny VILA-1.5, and inputs and pictures for it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from pinhole.models.vila import VilaConfig, VilaForConditionalGeneration

IMAGE, PAD, VOCABULARY, WIDTH, SIDE, PATCH = 250, 0, 256, 32, 40, 8
VISUAL = 9
VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
}
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def tiny_vila(seed: int = 0, dtype: torch.dtype = torch.float64, layers: int = 3) -> VilaForConditionalGeneration:
    """A VILA-1.5 with 5x5 patches, so 9 visual tokens, whose logits depend clearly on content and position."""
    text = {
        **TEXT,
        "num_hidden_layers": layers,
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = VilaConfig(vision_config=dict(VISION), text_config=text, image_token_id=IMAGE)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VilaForConditionalGeneration(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise * 1.2 / parameter[0].numel() ** 0.5)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model


def tiny_vila_inputs(
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
        rows.append(row + words(max(1, 4 - i)))
    length = max(map(len, rows))
    ids = torch.full((batch, length), PAD)
    mask = torch.zeros(batch, length, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(length - len(row), None) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=generator, dtype=torch.float64).to(dtype)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of smooth waves and noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c) + y / (5 - c) + seed) * 90 + 128 for c in range(3)]
    noise = np.random.RandomState(seed).randint(-30, 31, (height, width, 3))
    return Image.fromarray((np.stack(waves, -1).round() + noise).clip(0, 255).astype(np.uint8))
