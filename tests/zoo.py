"""A tiny random-weight model of every family, and prompts with images or videos of unlike sizes for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf

IMAGE, VIDEO, START, END, PAD, VOCABULARY, WIDTH = 250, 251, 252, 253, 0, 256, 32
WORDS = 240


@dataclass(frozen=True)
class Animal:
    """One family, small.

    Attributes:
        build: makes the model: (seed, dtype).
        visual: makes what one row's images or videos are: (model, modality, count, generator, dtype) to the inputs of
            the encoder and, for each of them, the ids of its place in the prompt.
        modalities: what it reads.
        side: images in a row where the contract wants two.
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
            "num_hidden_layers": 3,
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
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model


TILES = [[48, 96], [96, 48], [96, 96], [48, 144]]
SIZES = [(48, 90), (100, 60), (90, 110), (60, 60), (40, 130)]


def llava(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.LlavaConfig(
        vision_config=tower(hf.CLIPVisionConfig), text_config=text(), image_token_index=IMAGE, vision_feature_layer=-2
    )
    return randomized(hf.LlavaForConditionalGeneration, config, seed, dtype)


def llava_next(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.LlavaNextConfig(
        vision_config=tower(hf.CLIPVisionConfig),
        text_config=text(),
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        image_grid_pinpoints=TILES,
    )
    return randomized(hf.LlavaNextForConditionalGeneration, config, seed, dtype)


def llava_next_video(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.LlavaNextVideoConfig(
        vision_config=tower(hf.CLIPVisionConfig),
        text_config=text(),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-2,
        image_grid_pinpoints=TILES,
        spatial_pool_mode="average",
    )
    return randomized(hf.LlavaNextVideoForConditionalGeneration, config, seed, dtype)


def llava_onevision(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    config = hf.LlavaOnevisionConfig(
        vision_config=tower(hf.SiglipVisionConfig, vision_use_head=False),
        text_config=text(hf.Qwen2Config),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[*TILES, [192, 192]],
        vision_aspect_ratio="anyres_max_2",
    )
    return randomized(hf.LlavaOnevisionForConditionalGeneration, config, seed, dtype)


def internvl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = hf.InternVLVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=[48, 48],
        patch_size=[8, 8],
    )
    config = hf.InternVLConfig(
        vision_config=vision, text_config=text(hf.Qwen2Config), image_token_id=IMAGE, image_seq_length=9
    )
    return randomized(hf.InternVLForConditionalGeneration, config, seed, dtype)


ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
MARKS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}


def qwen2_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": WIDTH,
        "mlp_ratio": 2,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    words = text(hf.models.qwen2_vl.Qwen2VLTextConfig, rope_parameters=ROPE)
    config = hf.Qwen2VLConfig(text_config=words.to_dict(), vision_config=vision, **MARKS)
    return randomized(hf.Qwen2VLForConditionalGeneration, config, seed, dtype)


def qwen2_5_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    words = text(hf.models.qwen2_5_vl.Qwen2_5_VLTextConfig, rope_parameters=ROPE)
    config = hf.Qwen2_5_VLConfig(text_config=words.to_dict(), vision_config=vision, **MARKS)
    return randomized(hf.Qwen2_5_VLForConditionalGeneration, config, seed, dtype)


def qwen3_vl(seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "out_hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    words = text(hf.Qwen3VLTextConfig, rope_parameters=ROPE, head_dim=8)
    config = hf.Qwen3VLConfig(text_config=words.to_dict(), vision_config=vision, **MARKS)
    return randomized(hf.Qwen3VLForConditionalGeneration, config, seed, dtype)


def turn(generator: torch.Generator, count: int, choices: int) -> list[int]:
    """`count` choices in turn, from where the seed says."""
    return [(generator.initial_seed() + i) % choices for i in range(count)]


def squares(model, modality, count, generator, dtype):
    """One square image each."""
    pixels = torch.randn(count, 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [[IMAGE] * 16] * count


def tiled(model, modality, count, generator, dtype):
    """Pictures of unlike aspect ratios in tiles, padded to the most tiles; or videos of three frames."""
    if modality == "video":
        pixels = torch.randn(count, 3, 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
        inputs = {"pixel_values_videos": pixels}
        with torch.no_grad():
            lengths = [len(x) for x in model.model.get_video_features(**inputs, return_dict=True).pooler_output]
        return inputs, [[VIDEO] * length for length in lengths]
    sizes = torch.tensor([SIZES[i] for i in turn(generator, count, len(SIZES))])
    pixels = torch.randn(count, 5, 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    inputs = {"pixel_values": pixels, "image_sizes": sizes}
    if isinstance(model, hf.LlavaOnevisionForConditionalGeneration):
        inputs["batch_num_images"] = torch.tensor([count])
        if count == 1 and sizes[0].tolist() == [90, 110]:  # the largest canvas has 17 tiles
            inputs["pixel_values"] = torch.randn(1, 17, 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        lengths = [len(x) for x in model.model.get_image_features(**inputs, return_dict=True).pooler_output]
    return inputs, [[IMAGE] * length for length in lengths]


def crops(model, modality, count, generator, dtype):
    """Pictures of one, three or five tiles."""
    tiles = [(3, 1, 5)[i] for i in turn(generator, count, 3)]
    pixels = torch.randn(sum(tiles), 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    return {"pixel_values": pixels}, [[START, *[IMAGE] * 9 * number, END] for number in tiles]


IMAGE_GRIDS = [[1, 4, 6], [1, 8, 4], [1, 4, 4], [1, 6, 6]]
VIDEO_GRIDS = [[3, 4, 4], [2, 4, 6], [2, 6, 4]]


def merged(model, modality, count, generator, dtype):
    """Pictures or videos of unlike grids, patches in one long row."""
    kinds = VIDEO_GRIDS if modality == "video" else IMAGE_GRIDS
    grids = torch.tensor([kinds[i] for i in turn(generator, count, len(kinds))])
    pixels = torch.randn(int(grids.prod(-1).sum()), 3 * 2 * 4 * 4, generator=generator, dtype=torch.float64).to(dtype)
    names = ("pixel_values_videos", "video_grid_thw") if modality == "video" else ("pixel_values", "image_grid_thw")
    inputs = {names[0]: pixels, names[1]: grids}
    if modality == "video" and isinstance(model, hf.Qwen2_5_VLForConditionalGeneration):
        inputs["second_per_grid_ts"] = torch.tensor([1.5] * count)
    token = VIDEO if modality == "video" else IMAGE
    if modality == "video" and isinstance(model, hf.Qwen3VLForConditionalGeneration):  # a time stamp before each frame
        return inputs, [
            [id for step in range(t) for id in (60 + step, START, *[token] * (h * w // 4), END)]
            for t, h, w in grids.tolist()
        ]
    return inputs, [[START, *[token] * (t * h * w // 4), END] for t, h, w in grids.tolist()]


BOTH = ("image", "video")
ZOO = {
    "llava": Animal(llava, squares),
    "llava_next": Animal(llava_next, tiled),
    "llava_next_video": Animal(llava_next_video, tiled, BOTH),
    "llava_onevision": Animal(llava_onevision, tiled, BOTH),
    "qwen2_vl": Animal(qwen2_vl, merged, BOTH, "mm_token_type_ids"),
    "qwen2_5_vl": Animal(qwen2_5_vl, merged, BOTH, "mm_token_type_ids"),
    "qwen3_vl": Animal(qwen3_vl, merged, BOTH, "mm_token_type_ids"),
    "internvl": Animal(internvl, crops),
}


def row(
    family: str, model: Any, modality: str = "image", seed: int = 0, count: int = 1, dtype: torch.dtype = torch.float64
) -> dict[str, torch.Tensor]:
    """One prompt: words, `count` images or videos with words between, words."""
    animal = ZOO[family]
    generator = torch.Generator().manual_seed(1000 + seed)

    def words(number: int) -> list[int]:
        return torch.randint(3, WORDS, (number,), generator=generator).tolist()

    inputs, places = animal.visual(model, modality, count, generator, dtype)
    ids = words(3 + seed % 3)
    for place in places:
        ids += place + words(2)
    ids = torch.tensor([ids + words(3)])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}
    if animal.token_types:
        inputs[animal.token_types] = (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
    return inputs


def rows(family: str, model: Any, modality: str = "image", seed: int = 0, batch: int = 1) -> list[dict]:
    """Prompts of unlike length; the second has two images, or two videos."""
    return [row(family, model, modality, 10 * seed + i, 2 if i == 1 else 1) for i in range(batch)]


def together(prompts: list[dict[str, torch.Tensor]], side: str = "left") -> dict[str, torch.Tensor]:
    """Prompts as one padded batch."""
    length = max(prompt["input_ids"].shape[1] for prompt in prompts)
    batch: dict[str, torch.Tensor] = {}
    for name in prompts[0]:
        values = [prompt[name] for prompt in prompts]
        if values[0].shape == prompts[0]["input_ids"].shape:
            fill = PAD
            pads = [value.new_full((1, length - value.shape[1]), fill) for value in values]
            values = [torch.cat([p, v] if side == "left" else [v, p], 1) for p, v in zip(pads, values, strict=True)]
        elif name == "pixel_values" and values[0].dim() == 5:
            tiles = max(value.shape[1] for value in values)
            values = [torch.nn.functional.pad(v, (0,) * 6 + (0, tiles - v.shape[1])) for v in values]
        batch[name] = torch.cat(values)
    return batch


def words(count: int, seed: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """A turn of text alone."""
    ids = torch.randint(3, WORDS, (batch, count), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
