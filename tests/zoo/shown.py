"""How each family's processor shows a picture to its encoder, the nearest pixel for each of the encoder's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image

from pinhole.models.xcomposer2.image_processing import XComposer2ImageProcessor
from zoo.idefics import written
from zoo.llava import TILES
from zoo.mosaic import WRITTEN

NEAREST = Image.Resampling.NEAREST
SIZES = ((90, 110), (110, 90), (60, 60), (48, 144), (130, 41), (61, 97), (200, 150))
Inputs = dict[str, Any]
Processed = tuple[Inputs, list[int] | None]
"""Inputs of the encoder and the ids of the picture's place; None for as many placeholders as there are features."""


def processor(kind: str, **settings: Any) -> Callable[[np.ndarray], Inputs]:
    """Of PIL, without rescaling tricks: the nearest pixel."""
    made = getattr(hf, kind)(resample=NEAREST, **settings)
    return lambda image: dict(made(Image.fromarray(image), return_tensors="pt"))


def square(image: np.ndarray, side: int = 48) -> Inputs:
    """A picture as most processors squeeze it."""
    pixels = np.asarray(Image.fromarray(image).resize((side, side), NEAREST))
    return {"pixel_values": torch.tensor(pixels / 128 - 1).permute(2, 0, 1)[None]}


def sized(inputs: Inputs, image: np.ndarray) -> Inputs:
    """With what `encode_turn` adds."""
    return {**inputs, "image_sizes": torch.tensor([image.shape[:2]])}


NEXT = processor(
    "LlavaNextImageProcessorPil",
    size={"shortest_edge": 48},
    crop_size={"height": 48, "width": 48},
    image_grid_pinpoints=TILES,
)
ONEVISION = processor(
    "LlavaOnevisionImageProcessorPil", size={"height": 48, "width": 48}, image_grid_pinpoints=[*TILES, [192, 192]]
)
CROPS = processor(
    "GotOcr2ImageProcessorPil", size={"height": 48, "width": 48}, crop_to_patches=True, min_patches=1, max_patches=6
)
IDEFICS = processor(
    "Idefics3ImageProcessorPil",
    size={"longest_edge": 96},
    max_image_size={"longest_edge": 32},
    return_row_col_info=True,
)
OVIS = processor("Ovis2ImageProcessorPil", size={"height": 48, "width": 48}, crop_to_patches=True, max_patches=6)
MERGED = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
QWEN = processor("Qwen2VLImageProcessorPil", **MERGED, size={"shortest_edge": 64, "longest_edge": 4096})
GLM = processor("Glm4vImageProcessorPil", **MERGED, size={"shortest_edge": 64, "longest_edge": 8192})
PIXTRAL = processor("PixtralImageProcessorPil", size={"longest_edge": 48}, patch_size={"height": 16, "width": 16})
DEEPSEEK = processor("DeepseekVLImageProcessorPil", size={"height": 48, "width": 48}, min_size=1)


def squeezed(image: np.ndarray, side: int = 48) -> Processed:
    """As most processors make a picture square."""
    pixels = np.asarray(Image.fromarray(image).resize((side, side), NEAREST))
    return {"pixel_values": torch.tensor(pixels / 128 - 1).permute(2, 0, 1)[None]}, None


def onevision(image: np.ndarray, limit: str = "anyres_max_99") -> Processed:
    return {**ONEVISION(image), "vision_aspect_ratio": limit}, None


def beside_another(image: np.ndarray) -> Processed:
    """As LLaVA-OneVision shows pictures that share their prompt: one tile each, padded to a square."""
    side, (height, width) = max(image.shape), image.shape[:2]
    padded = np.zeros((side, side, 3), np.uint8)
    above, left = (side - height) // 2, (side - width) // 2
    padded[above : above + height, left : left + width] = image
    pixels = squeezed(padded)[0]["pixel_values"].expand(2, 1, -1, -1, -1)
    sizes = torch.tensor([[height, width]] * 2)
    return {"pixel_values": pixels, "image_sizes": sizes, "batch_num_images": torch.tensor([2])}, None


def crops(image: np.ndarray) -> Processed:
    return sized({"pixel_values": CROPS(image)["pixel_values"]}, image), None


def aya(image: np.ndarray) -> Processed:
    inputs, _ = crops(image)
    tiles = len(inputs["pixel_values"]) - 1
    return inputs, WRITTEN["aya_vision"](tiles, 1)


def cohere2(image: np.ndarray) -> Processed:
    """Its processor needs torchvision; here for pictures that twelve tiles hold."""
    down, across = (-(-length // 48) for length in image.shape[:2])
    pixels = np.asarray(Image.fromarray(image).resize((48 * across, 48 * down), NEAREST))
    tiles = torch.tensor(pixels / 128 - 1).view(down, 48, across, 48, 3).permute(0, 2, 4, 1, 3).flatten(0, 1)
    inputs = {"pixel_values": torch.cat([tiles, squeezed(image)[0]["pixel_values"]])}
    return sized(inputs, image), WRITTEN["cohere2_vision"](down, across)


def idefics(image: np.ndarray) -> Processed:
    inputs = IDEFICS(image)
    [[down]], [[across]] = inputs.pop("rows"), inputs.pop("cols")
    return inputs, written(down, across, 4)


def ovis2(image: np.ndarray) -> Processed:
    inputs = OVIS(image)
    [[down, across]] = inputs.pop("grids").tolist()
    return inputs, WRITTEN["ovis2"](*((down, across) if down * across > 1 else (0, 0)))


@dataclass(frozen=True)
class Shown:
    """How a family sees a picture.

    Attributes:
        process: a picture to what `see` takes.
        pixels: along a token, as the encoder gets them.
        reach: how far beyond its box a token may look, in boxes.
        sizes: of pictures that it can be shown.
    """

    process: Callable[[np.ndarray], Processed]
    pixels: int
    reach: float = 0.0
    sizes: tuple[tuple[int, int], ...] = SIZES


def alone(process: Callable[[np.ndarray], Inputs]) -> Callable[[np.ndarray], Processed]:
    return lambda image: (process(image), None)


def named(process: Callable[[np.ndarray], Inputs]) -> Callable[[np.ndarray], Processed]:
    return lambda image: (sized(process(image), image), None)


FEW = SIZES[:2]  # where nothing depends on them, or it is another family's code
XCOMPOSER = XComposer2ImageProcessor(hd_num=4, tile_size=16, patch_size=4)
TWICE = 4 / 16  # these processors scale twice
SHOWN = {
    "vila": Shown(functools.partial(squeezed, side=40), 16, sizes=FEW),
    "xcomposer2": Shown(named(lambda image: dict(XCOMPOSER(Image.fromarray(image), return_tensors="pt"))), 8, 1 / 2),
    "llava": Shown(squeezed, 12, sizes=FEW),
    "vipllava": Shown(squeezed, 12, sizes=FEW),
    "gemma3": Shown(squeezed, 12, sizes=FEW),
    "deepseek_vl": Shown(named(DEEPSEEK), 12),
    "llava_next": Shown(alone(NEXT), 12),
    "llava_next_video": Shown(alone(NEXT), 12, sizes=FEW),
    "llava_onevision": Shown(onevision, 12),
    "llava_onevision pooled": Shown(functools.partial(onevision, limit="anyres_max_2"), 12, 1),
    "llava_onevision beside another": Shown(beside_another, 12),
    "qwen2_vl": Shown(alone(QWEN), 8),
    "qwen2_5_vl": Shown(alone(QWEN), 8, sizes=FEW),
    "qwen3_vl": Shown(alone(QWEN), 8, sizes=FEW),
    "qwen3_vl_moe": Shown(alone(QWEN), 8, sizes=FEW),
    "glm4v": Shown(alone(GLM), 8),
    "glm46v": Shown(alone(GLM), 8, sizes=FEW),
    "glm4v_moe": Shown(alone(GLM), 8, sizes=FEW),
    "internvl": Shown(crops, 16),
    "aya_vision": Shown(aya, 24),
    "cohere2_vision": Shown(cohere2, 24, sizes=SIZES[:-1]),
    "idefics3": Shown(idefics, 16, TWICE),
    "smolvlm": Shown(idefics, 16, TWICE, sizes=FEW),
    "ovis2": Shown(ovis2, 24),
    "got_ocr2": Shown(functools.partial(squeezed, side=64), 32, 1, sizes=FEW),  # convolutions look beyond
    "mistral3": Shown(alone(PIXTRAL), 16),
}
FILMED = {
    "llava_next_video": (squeezed, 24, 0),
    "llava_onevision": (squeezed, 24, 1),
    **{name: (SHOWN[name].process, 8, 0) for name in SHOWN if name.startswith(("qwen", "glm"))},
}
