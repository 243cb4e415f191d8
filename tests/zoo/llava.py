"""The LLaVA models, tiny."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from zoo.parts import BOTH, IMAGE, VIDEO, Animal, randomized, text, tower, turn

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
    config = model.config
    tiles = [image_size_to_num_patches(size, config.image_grid_pinpoints, 48) for size in sizes]
    pixels = torch.randn(count, max(tiles), 3, 48, 48, generator=generator, dtype=torch.float64).to(dtype)
    inputs = {"pixel_values": pixels, "image_sizes": sizes}
    if isinstance(model, hf.LlavaOnevisionForConditionalGeneration):
        inputs["batch_num_images"] = torch.tensor([count])
    with torch.no_grad():
        lengths = [len(x) for x in model.model.get_image_features(**inputs, return_dict=True).pooler_output]
    return inputs, [[IMAGE] * length for length in lengths]


ANIMALS = {
    "llava": Animal(llava, squares),
    "llava_next": Animal(llava_next, tiled),
    "llava_next_video": Animal(llava_next_video, tiled, BOTH),
    "llava_onevision": Animal(llava_onevision, tiled, BOTH),
}
