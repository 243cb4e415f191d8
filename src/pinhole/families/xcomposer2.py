"""InternLM-XComposer-2.5: Pinhole's own port (`pinhole.models.xcomposer2`), a global view and tiles, 1-D RoPE."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from PIL import Image

from pinhole.families.base import Family
from pinhole.families.cues import Encoder, averaged
from pinhole.layout import Box, Layout, View
from pinhole.models.xcomposer2 import token_layout


class XComposer2(Family):
    """The global view's tokens, a separator, then the tiles as one grid; a separator closes every row of both.

    The picture is scaled to the tiles and padded below or to the right. Its share of them follows from `image_sizes`,
    (N, 2) heights and widths of the pictures (Pinhole's `encode_turn` gives them); without, the boxes are unknown.
    """

    spent_inputs: ClassVar[tuple[str, ...]] = ("image_sizes",)

    def cut_inputs(self, arguments: dict[str, Any], alive: torch.Tensor, total: int) -> dict[str, Any]:
        """`image_places`: which tokens, counted through the batch, the partial LoRA acts on."""
        places = arguments["image_places"]
        if places is None:
            return {}
        is_image = torch.zeros(total, dtype=torch.bool, device=places.device)
        is_image[places] = True
        return {"image_places": (is_image[alive.clamp_min(0)] & (alive >= 0)).flatten().nonzero().squeeze(1)}

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """CLIP, whose last layer the projector reads."""
        layers = self.model.base_model.vision_tower.encoder.layers
        return Encoder(layers, len(layers) - 1, class_token=True, dropped=1)

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the two by two patches that the projector joins; separators have 0."""
        side = self.model.config.tokens_per_side
        views = averaged(patches, len(inputs["pixel_values"]), 2).unflatten(0, (-1, side, side))
        tokens, start = [], 0
        for rows, columns in inputs["tile_grids"].tolist():
            view, row, column = token_layout(rows, columns, side).T
            tile = torch.where(view > 0, 1 + row // side * columns + column // side, 0)
            values = views[start + tile.clamp_min(0), row % side, column % side]
            tokens.append(values.masked_fill((view < 0)[:, None].to(values.device), 0))
            start += 1 + rows * columns
        return torch.cat(tokens)

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """As the port packs them."""
        side = self.model.config.tokens_per_side
        grids = inputs["tile_grids"].tolist()
        sizes = inputs.get("image_sizes")
        sizes = [None] * len(grids) if sizes is None else sizes.tolist()
        layouts = []
        for (rows, columns), size in zip(grids, sizes, strict=True):
            box = None if size is None else _canvas(size, rows, columns, inputs["pixel_values"].shape[-1])
            view, row, column = token_layout(rows, columns, side).T
            across = torch.where(view > 0, columns * side, side)
            views = (View(side, side, box), View(rows * side, columns * side, box))
            layouts.append(Layout(views, view, torch.where(view < 0, -1, row * across + column)))
        return layouts

    def describe(self, images: list[Image.Image], videos: int) -> dict[str, torch.Tensor]:
        """The pictures' heights and widths."""
        return {"image_sizes": torch.tensor([[image.height, image.width] for image in images])} if images else {}

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Each image's global view and tiles."""
        return list(
            inputs["pixel_values"].split([1 + rows * columns for rows, columns in inputs["tile_grids"].tolist()])
        )


def _canvas(size: list[int], rows: int, columns: int, tile: int) -> Box:
    """What the tiles cover, as shares of the picture at their top left: its longer side fills them."""
    height, width = size
    ratio = max(size) / min(size)
    if width < height:
        return 0.0, 0.0, 1.0, columns * tile / max(int(rows * tile / ratio), 1)
    return 0.0, 0.0, rows * tile / max(int(columns * tile / ratio), 1), 1.0
