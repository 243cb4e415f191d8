"""A tiny XComposer-2.5, matching inputs, and a tiny checkpoint in the published layout. Nothing is downloaded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPVisionConfig

from pinhole.models.xcomposer2 import (
    XComposer2Config,
    XComposer2ForConditionalGeneration,
    XComposer2TextConfig,
    count_tokens,
)

IMAGE, PAD, VOCABULARY, WIDTH, SIDE = 250, 0, 256, 32, 2
GRIDS = ((1, 1), (1, 2), (2, 1))


def tiny_xcomposer2(
    seed: int = 0, dtype: torch.dtype = torch.float64, width: int = WIDTH, layers: int = 3
) -> XComposer2ForConditionalGeneration:
    """Tiles of 16 pixels with 2 x 2 visual tokens; logits depend clearly on content and position."""
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=16,
        patch_size=4,
    )
    text = XComposer2TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
        plora_rank=4,
        plora_alpha=8,
    )
    config = XComposer2Config(vision_config=vision, text_config=text, image_token_id=IMAGE)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = XComposer2ForConditionalGeneration(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(noise * 1.2 / parameter[0].numel() ** 0.5)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model


def tiny_xcomposer2_inputs(
    batch: int = 1, side: str = "left", seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """Rows of unlike length; the second row has two images, the others one, of one or two tiles."""
    generator = torch.Generator().manual_seed(100 + seed)

    def words(count: int) -> list[int]:
        return torch.randint(3, 240, (count,), generator=generator).tolist()

    rows, grids = [], []
    for i in range(batch):
        row = words(3 + 2 * i)
        for _ in range(2 if i == 1 else 1):
            grids.append(GRIDS[(len(grids) + seed) % len(GRIDS)])
            row += [IMAGE] * count_tokens(*grids[-1], SIDE) + words(2)
        rows.append(row + words(4 - i))
    length = max(map(len, rows))
    ids = torch.full((batch, length), PAD)
    mask = torch.zeros(batch, length, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(length - len(row), None) if side == "left" else slice(0, len(row))
        ids[i, place] = torch.tensor(row)
        mask[i, place] = 1
    views = sum(1 + h * w for h, w in grids)
    pixels = torch.randn(views, 3, 16, 16, generator=generator, dtype=torch.float64).to(dtype)
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels, "tile_grids": torch.tensor(grids)}


CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 560,
    "patch_size": 14,
}
ORIGINAL = {
    "architectures": ["InternLMXComposer2ForCausalLM"],
    "model_type": "internlmxcomposer2",
    "attn_implementation": "eager",
    "auto_map": {"AutoModelForCausalLM": "modeling_internlm_xcomposer2.InternLMXComposer2ForCausalLM"},
    "bias": False,
    "vocab_size": 352,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_length": 16384,
    "max_position_embeddings": 1500,
    "rms_norm_eps": 1e-5,
    "rope_scaling": {"factor": 2.0, "type": "dynamic"},
    "rope_theta": 1000000,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": False,
}
"""The published keys, with tiny sizes. The rank of partial LoRA is 256, as published: it is in no configuration."""


def original_shapes() -> dict[str, tuple[int, ...]]:
    """Every weight of the published layout, with tiny sizes."""
    width, mlp, clip, merged = 32, 48, 16, 64
    shapes: dict[str, tuple[int, ...]] = {
        "model.tok_embeddings.weight": (352, width),
        "model.norm.weight": (width,),
        "output.weight": (352, width),
        "plora_glb_GN": (1, 1, merged),
        "plora_sub_GN": (1, 1, 1, merged),
        "vision_proj.0.weight": (width, merged),
        "vision_proj.0.bias": (width,),
        "vision_proj.2.weight": (width, width),
        "vision_proj.2.bias": (width,),
    }
    linears = {
        "attention.wqkv": (64, width),
        "attention.wo": (width, width),
        "feed_forward.w1": (mlp, width),
        "feed_forward.w3": (mlp, width),
        "feed_forward.w2": (width, mlp),
    }
    for layer in range(2):
        for name, (out, into) in linears.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = (out, into)
            shapes[f"model.layers.{layer}.{name}.Plora_A.weight"] = (256, into)
            shapes[f"model.layers.{layer}.{name}.Plora_B.weight"] = (out, 256)
        for name in ("attention_norm", "ffn_norm"):
            shapes[f"model.layers.{layer}.{name}.weight"] = (width,)
    tower = "vit.vision_tower.vision_model."
    shapes[tower + "embeddings.class_embedding"] = (clip,)
    shapes[tower + "embeddings.patch_embedding.weight"] = (clip, 3, 14, 14)
    shapes[tower + "embeddings.position_embedding.weight"] = (1601, clip)
    norms = ["pre_layrnorm", "post_layernorm"]
    for layer in range(2):
        block = f"encoder.layers.{layer}."
        norms += [block + "layer_norm1", block + "layer_norm2"]
        sizes = {f"self_attn.{name}_proj": (clip, clip) for name in ("q", "k", "v", "out")}
        for name, size in {**sizes, "mlp.fc1": (32, clip), "mlp.fc2": (clip, 32)}.items():
            shapes[f"{tower}{block}{name}.weight"] = size
            shapes[f"{tower}{block}{name}.bias"] = size[:1]
    for name in norms:
        shapes[f"{tower}{name}.weight"] = shapes[f"{tower}{name}.bias"] = (clip,)
    return shapes


def original_weights() -> dict[str, torch.Tensor]:
    """Weights that numpy's frozen generator decides, in the order of their sorted names."""
    random = np.random.RandomState(2407)
    weights = {}
    for name, shape in sorted(original_shapes().items()):
        noise = random.standard_normal(shape)
        if len(shape) >= 2 and "Plora_B" not in name:
            noise *= 1.2 / np.prod(shape[1:]) ** 0.5
        else:
            noise = noise * 0.1 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
        weights[name] = torch.from_numpy(noise.astype(np.float32))
    return weights


def write_original(
    folder: Path, weights: dict[str, torch.Tensor] | None = None, suffix: str = "safetensors", tokenizer: bytes = b""
) -> Path:
    """A checkpoint in the published layout: two shards with an index, CLIP's sizes in a folder of their own."""
    (folder / "clip_l_560").mkdir(parents=True)
    (folder / "clip_l_560" / "config.json").write_text(json.dumps(CLIP))
    (folder / "config.json").write_text(json.dumps(ORIGINAL))
    (folder / "tokenizer.model").write_bytes(tokenizer)
    weights = original_weights() if weights is None else weights
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {name: f"{stem}-0000{i % 2 + 1}-of-00002.{suffix}" for i, name in enumerate(sorted(weights))}
    for file in set(places.values()):
        shard = {name: weights[name].contiguous() for name, place in places.items() if place == file}
        if suffix == "safetensors":
            save_file(shard, folder / file, metadata={"format": "pt"})
        else:
            torch.save(shard, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))
    return folder


def picture(width: int, height: int) -> Image.Image:
    """Waves of colour that no two places share."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 37 + y / 91), np.cos(x / 53 - y / 29), np.sin(x * y / 20000)]
    return Image.fromarray(np.round(127.5 + 127 * np.stack(waves, -1)).astype(np.uint8))


def golden_cases() -> dict[str, list[list[int] | tuple[int, int]]]:
    """Prompts: ids of words, and sizes (width, height) of pictures."""
    random = np.random.RandomState(5)

    def words(count: int) -> list[int]:
        return random.randint(6, 352, count).tolist()

    return {
        "text": [[1, *words(9)]],
        "square": [[1], (300, 280), words(8)],
        "wide": [[1, *words(3)], (1000, 420), words(5)],
        "tall": [[1, *words(2)], (260, 900), words(6)],
        "two": [[1, *words(2)], (300, 280), words(3), (700, 400), words(4)],
    }


def golden_rows(n: int) -> list[int]:
    """Which of an image's n visual tokens are compared: the ends of rows and of the global view, and some others."""
    return sorted({0, 1, 19, 20, 21, 418, 419, 420, 421, 422, n - 2, n - 1, *range(7, n, n // 9)})


def golden_columns(length: int) -> list[int]:
    """At which tokens of a prompt the logits are compared."""
    return [0, length // 3, length // 2, length - 3, length - 2, length - 1]


SENTENCES = [
    "What is in the picture?",
    "The picture shows a dog and a cat.",
    "user assistant system",
    "Is there a dog on the left of the cat?",
]


def train_tokenizer(spare: bool = True) -> bytes:
    """A SentencePiece model of the published kind: byte-level BPE that leaves white space as it is.

    `spare` decides whether it has the piece whose id the image token takes.
    """
    import sentencepiece

    kept = ["[UNUSED_TOKEN_140]", "[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=352,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=kept if spare else kept[1:],
        minloglevel=2,
    )
    return model.getvalue()
