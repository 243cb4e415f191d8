"""An image as XComposer-2.5 sees it: scaled to whole tiles, padded with white below or to the right, cut up."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_transforms import to_pil_image
from transformers.processing_utils import ImagesKwargs


class XComposer2ImagesKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """What may be given to `XComposer2ImageProcessor` beside the usual.

    Attributes:
        hd_num: the most tiles of an image; a list has a number for each image.
        tile_size: side of a tile in pixels.
        patch_size: side of one of CLIP's patches in pixels.
    """

    hd_num: int | list[int]
    tile_size: int
    patch_size: int


def fit_tiles(width: int, height: int, hd_num: int, tile_size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How an image is scaled: its longer side to whole tiles, no more than it fills and no more than `hd_num` in all.

    Returns:
        the width and height in pixels before padding, and the rows and columns of tiles after it.

    Raises:
        ValueError: `hd_num` is below one.
    """
    if hd_num < 1:
        raise ValueError(f"hd_num is the most tiles of an image and at least 1, got {hd_num}")
    ratio = max(width, height) / min(width, height)
    most = 1
    while (most + 1) * math.ceil((most + 1) / ratio) <= hd_num:
        most += 1
    long_tiles = min(math.ceil(max(width, height) / tile_size), most)
    long = long_tiles * tile_size
    short = max(int(long / ratio), 1)
    short_tiles = math.ceil(short / tile_size)
    if width < height:
        return (short, long), (long_tiles, short_tiles)
    return (long, short), (short_tiles, long_tiles)


def _scale(image: Image.Image, hd_num: int, tile_size: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image in whole tiles. An upright one lies down while it is scaled, as the rounding in between is then."""
    (width, height), (rows, columns) = fit_tiles(*image.size, hd_num, tile_size)
    if width < height:
        turned = image.transpose(Image.Transpose.TRANSPOSE).resize((height, width), Image.Resampling.BILINEAR)
        scaled = turned.transpose(Image.Transpose.TRANSPOSE)
    else:
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (columns * tile_size, rows * tile_size), "white")
    canvas.paste(scaled, (0, 0))
    return canvas, (rows, columns)


class XComposer2ImageProcessor(BaseImageProcessor):
    """Makes `pixel_values` (T, 3, side, side) and `tile_grids` (images, 2): each image's global view, then its tiles.

    The global view is the padded image squeezed to one tile, by bicubic interpolation of its normalised values.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "tile_grids"]
    valid_kwargs = XComposer2ImagesKwargs
    image_mean = (0.48145466, 0.4578275, 0.40821073)
    image_std = (0.26862954, 0.26130258, 0.27577711)
    hd_num = 24
    tile_size = 560
    patch_size = 14

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_attributes(**kwargs)

    @property
    def tokens_per_side(self) -> int:
        """Visual tokens along each side of a tile."""
        return self.tile_size // self.patch_size // 2

    def process_image(self, image: Any, **kwargs: Any) -> Image.Image:
        """A PIL image in RGB, from PIL, or from an array or tensor with the channels first or last."""
        return to_pil_image(image).convert("RGB")

    def _preprocess(
        self,
        images: list[Image.Image],
        hd_num: int | list[int],
        tile_size: int,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        most = [hd_num] * len(images) if isinstance(hd_num, int) else hd_num
        if len(most) != len(images):
            raise ValueError(f"hd_num has {len(most)} numbers for {len(images)} images: give one number, or one each")
        mean, std = (np.array(values, dtype=np.float32) for values in (image_mean, image_std))
        views: list[np.ndarray] = []
        grids = []
        for image, number in zip(images, most, strict=True):
            canvas, grid = _scale(image, number, tile_size)
            pixels = np.asarray(canvas, dtype=np.float32) / np.float32(255)
            pixels = np.divide(pixels - mean, std, dtype=np.float32)
            views += _cut(torch.from_numpy(pixels).permute(2, 0, 1), grid, tile_size)
            grids.append(grid)
        data = {"pixel_values": np.concatenate(views), "tile_grids": np.array(grids)}
        return BatchFeature(data, tensor_type=return_tensors)


def _cut(pixels: torch.Tensor, grid: tuple[int, int], tile_size: int) -> list[np.ndarray]:
    """(3, H, W) to the global view (1, 3, side, side) and the tiles (rows * columns, 3, side, side)."""
    rows, columns = grid
    whole = torch.nn.functional.interpolate(pixels[None], size=(tile_size, tile_size), mode="bicubic")
    tiles = pixels.reshape(3, rows, tile_size, columns, tile_size).permute(1, 3, 0, 2, 4)
    return [whole.numpy(), tiles.reshape(rows * columns, 3, tile_size, tile_size).numpy()]
