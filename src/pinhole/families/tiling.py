"""What the LLaVA models with tiles share: an overview, then tiles put together, each row closed by a newline."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension
from transformers.models.llava_next.modeling_llava_next import unpad_image

from pinhole.families.base import Family
from pinhole.families.cues import Encoder, tower
from pinhole.layout import Box, Layout, View


class Tiled(Family):
    """The overview's tokens, then the tiles' tokens row by row, each row closed by a newline."""

    @abstractmethod
    def tiles(self, inputs: dict[str, Any]) -> list[int]:
        """Entries of `pixel_values` that each image takes: the overview and its tiles."""

    @abstractmethod
    def packed(self, features: list[torch.Tensor], inputs: dict[str, Any], newline: torch.Tensor) -> list[torch.Tensor]:
        """The model's own packing: (tiles, n, d) of each image to (n_i, d)."""

    def untiled(self, size: tuple[int, int]) -> Box:
        """What the only tile of an image of this size covers."""
        return (0.0, 0.0, 1.0, 1.0)

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """CLIP or SigLIP, which read every tile by itself."""
        return tower(self.model.config, self.model.base_model.vision_tower, inputs)

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """Packed as the features of an image are."""
        tiles = self.tiles(inputs)
        by_image = patches.unflatten(0, (sum(tiles), -1)).split(tiles)
        return torch.cat(list(self.packed(list(by_image), inputs, patches.new_zeros(patches.shape[1]))))

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """From the model's own packing, run on marks in the place of features: 0 is a patch, 1 a newline."""
        if modality == "video":
            return super().layouts(modality, inputs, lengths)
        config = self.model.config
        tile, side = config.vision_config.image_size, config.vision_config.image_size // config.vision_config.patch_size
        tiles = self.tiles(inputs)
        marks = self.packed([torch.zeros(count, side * side, 1) for count in tiles], inputs, torch.ones(1))
        layouts = []
        for mark, count, pixels in zip(marks, tiles, inputs["image_sizes"].tolist(), strict=True):
            newlines = (mark[:, 0] > 0.5).nonzero()[:, 0].tolist()
            if count == 1:
                layouts.append(Layout.of(View(side, side, self.untiled(pixels)), len(newlines)))
            elif len(newlines) == len(mark) - side * side:  # of a picture that is thinner than a patch nothing is left
                layouts.append(Layout.of(View(side, side), len(newlines)))
            else:
                box = canvas_box(pixels, config.image_grid_pinpoints, side, tile)
                layouts.append(_layout(View(side, side), View(len(newlines), newlines[0] - side * side, box)))
        return layouts

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Each image's own tiles: the batch pads their number."""
        if modality == "video":
            return super().pixels(modality, inputs, lengths)
        return [pixels[:count] for pixels, count in zip(inputs["pixel_values"], self.tiles(inputs), strict=True)]


def _layout(overview: View, tiled: View) -> Layout:
    first = Layout.of(overview)
    cells = torch.arange(tiled.rows * tiled.columns).view(tiled.rows, tiled.columns)
    cells = torch.cat([cells, torch.full((tiled.rows, 1), -1)], 1).flatten()
    views = torch.where(cells < 0, -1, 1)
    return Layout((overview, tiled), torch.cat([first.view, views]), torch.cat([first.cell, cells]))


def padded_square(size: tuple[int, int]) -> Box:
    """What the square covers that a picture of (height, width) was padded to, as shares of the picture."""
    height, width = size
    side = max(size)
    above, left = (side - height) // 2, (side - width) // 2
    return (-above / height, -left / width, (side - above) / height, (side - left) / width)


def canvas_box(size: tuple[int, int], canvases: list, side: int, tile: int) -> Box:
    """What the grid of all tiles covers once the model has cut its padding off, as shares of the picture.

    The processor scales the picture to fit the best canvas, keeping its aspect ratio, and pads it evenly; the model
    then cuts whole rows or columns of patches, so the grid may reach a little beyond the picture, or not to its edge.

    Args:
        size: (height, width) of the picture.
        canvases: those there are, (height, width) each.
        side: patches along a tile.
        tile: pixels along a tile.
    """
    canvas = select_best_resolution(size, canvases)
    scaled = get_patch_output_size(np.empty((1, *size)), canvas, ChannelDimension.FIRST)
    patches = [length // tile * side for length in canvas]
    kept = unpad_image(torch.empty(1, *patches), list(size)).shape[1:]
    edges = []
    for axis in (0, 1):
        start = (canvas[axis] - scaled[axis]) // 2
        cut = (patches[axis] - kept[axis]) // 2
        edges += [((patch * tile / side) - start) / scaled[axis] for patch in (cut, cut + kept[axis])]
    top, bottom, left, right = edges
    return top, left, bottom, right
