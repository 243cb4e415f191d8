"""Cues of an encoder the long way: eager attention or hidden states of one tile at a time, taken to tokens by hand."""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from transformers.image_processing_utils import select_best_resolution


def eager(model: Any) -> Any:
    """A copy of the model with eager attention."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    return model


@dataclass
class Tower:
    """An eager encoder that reads tiles one by one.

    Attributes:
        model: it is the `vision_tower` of.
        layer: the one that feeds the projector.
        class_token: whether [CLS] comes before the patches.
    """

    model: Any
    layer: int
    class_token: bool = True

    def patches(self, tile: torch.Tensor, cue: str) -> torch.Tensor:
        """(patches, c): the cue of every patch of one tile (3, side, side)."""
        layer, seen = self.layer + cue.endswith("+1"), {}
        encoder = self.model.model.vision_tower.encoder
        attention = encoder.layer[layer].attention if hasattr(encoder, "layer") else encoder.layers[layer].self_attn

        def keep(part: str) -> Any:
            return lambda module, args, output: seen.update({part: output[0]})

        hooks = [getattr(attention, f"{part}_proj").register_forward_hook(keep(part)) for part in "qk"]
        with torch.no_grad():
            output = self.model.model.vision_tower(tile[None], output_attentions=True, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        if cue.startswith("encoder_output"):
            values = output.hidden_states[layer + 1][0]  # the first is the embeddings
        else:
            values = self.values(cue.removesuffix("+1"), output.attentions[layer][0], seen["q"], seen["k"])
        return values.reshape(len(values), -1)[int(self.class_token) :]

    @staticmethod
    def values(cue: str, maps: torch.Tensor, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Of every token of a tile, from its map (heads, N, N) and its (N, width) queries and keys."""
        if cue == "encoder_keys":
            return keys
        if cue == "cls_attention":
            return maps[:, 0].mean(0)
        if cue == "cls_attention_joint":
            return torch.stack([(queries[0] @ key) / len(key) ** 0.5 for key in keys]).softmax(0)
        total = sum(head[row] for head in maps for row in range(len(head)))
        return total / (maps.shape[0] * maps.shape[1])


def mean_of_squares(patches: torch.Tensor) -> torch.Tensor:
    """(n, c) of a square grid to the means of its two by two patches; an odd grid's edge has fewer."""
    length = math.isqrt(len(patches))
    out = []
    for row in range(0, length, 2):
        for column in range(0, length, 2):
            rows, columns = range(row, min(row + 2, length)), range(column, min(column + 2, length))
            out.append(torch.stack([patches[i * length + j] for i in rows for j in columns]).mean(0))
    return torch.stack(out)


def put_together(tiles: list[torch.Tensor], down: int, across: int) -> torch.Tensor:
    """(rows, columns, c): tiles of (n, c) in raster order, row by row, as one grid."""
    side = math.isqrt(len(tiles[0]))
    grid = torch.zeros(down * side, across * side, tiles[0].shape[1], dtype=tiles[0].dtype)
    for row in range(down * side):
        for column in range(across * side):
            tile = tiles[row // side * across + column // side]
            grid[row, column] = tile[row % side * side + column % side]
    return grid


def ruled(grid: torch.Tensor) -> torch.Tensor:
    """(rows, columns, c) row by row, a newline behind each."""
    return torch.cat([torch.cat([line, torch.zeros(1, line.shape[1])]) for line in grid])


def scaled(grid: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Bilinear interpolation of (h, w, c) without antialiasing, written out."""
    height, width = grid.shape[:2]

    def around(i: int, old: int, new: int) -> list[tuple[int, float]]:
        place = max((i + 0.5) * old / new - 0.5, 0)
        low = int(place)
        return [(low, 1 - (place - low)), (min(low + 1, old - 1), place - low)]

    out = torch.zeros(rows, columns, grid.shape[2], dtype=grid.dtype)
    for i in range(rows):
        for j in range(columns):
            for a, p in around(i, height, rows):
                for b, q in around(j, width, columns):
                    out[i, j] += p * q * grid[a, b]
    return out


def packed(tiles: list[torch.Tensor], size: list[int], canvases: list, most: int | None) -> torch.Tensor:
    """LLaVA's overview, then the tiles as one grid without its padding, each row closed by a newline."""
    if len(tiles) == 1:
        return torch.cat([tiles[0], torch.zeros(1, tiles[0].shape[1])])
    down, across = (length // 48 for length in select_best_resolution(size, canvases))
    grid = put_together(tiles[1:], down, across)
    (rows, columns), (height, width) = grid.shape[:2], size
    if width / height > columns / rows:
        cut = (rows - int(round(height * columns / width, 7))) // 2
        grid = grid[cut : rows - cut]
    else:
        cut = (columns - int(round(width * rows / height, 7))) // 2
        grid = grid[:, cut : columns - cut]
    if most is not None:
        ratio = math.sqrt(grid.shape[0] * grid.shape[1] / (most * len(tiles[0])))
        if ratio > 1.1:
            grid = scaled(grid, int(grid.shape[0] // ratio), int(grid.shape[1] // ratio))
    return torch.cat([tiles[0], ruled(grid)])


def tiles_of(name: str, model: Any, inputs: dict) -> list[torch.Tensor]:
    """The tiles of each image."""
    images = []
    alone = name != "llava_onevision" or len(inputs["pixel_values"]) == 1
    for pixels, size in zip(inputs["pixel_values"], inputs["image_sizes"].tolist(), strict=True):
        height, width = select_best_resolution(size, model.config.image_grid_pinpoints)
        images.append(pixels[: 1 + height * width // 48**2 if alone else 1])
    return images


def tiled(tower: Tower, name: str, inputs: dict, cue: str) -> torch.Tensor:
    """LLaVA's images, or videos of pooled frames."""
    one_vision = name == "llava_onevision"
    if "pixel_values_videos" in inputs:
        parts = []
        for video in inputs["pixel_values_videos"]:
            parts += [mean_of_squares(tower.patches(frame, cue)) for frame in video]
            parts += [torch.zeros(1, parts[0].shape[1])] if one_vision else []
        return torch.cat(parts)
    canvases, most = tower.model.config.image_grid_pinpoints, 2 if one_vision else None
    images = zip(tiles_of(name, tower.model, inputs), inputs["image_sizes"].tolist(), strict=True)
    return torch.cat([packed([tower.patches(tile, cue) for tile in tiles], s, canvases, most) for tiles, s in images])


def viewed(tower: Tower, inputs: dict, cue: str) -> torch.Tensor:
    """XComposer's images: the global view, a separator, the tiles as one grid; every row closed by a mark."""
    views = [mean_of_squares(tower.patches(tile, cue)) for tile in inputs["pixel_values"]]
    out = []
    for down, across in inputs["tile_grids"].tolist():
        view, *tiles = (views.pop(0) for _ in range(1 + down * across))
        out += [ruled(put_together([view], 1, 1)), torch.zeros(1, view.shape[1])]
        out += [ruled(put_together(tiles, down, across))]
    return torch.cat(out)


def down_the_columns(tokens: torch.Tensor) -> torch.Tensor:
    """(n, c) of a square grid, from row by row to column by column."""
    side = math.isqrt(len(tokens))
    return torch.stack([tokens[row * side + column] for column in range(side) for row in range(side)])


def reading(model: Any, inputs: dict, cue: str) -> torch.Tensor:
    """A Qwen or GLM encoder: what eager attention of its last block was given and made of it, or the block's output."""
    watched, block, calls = model.model.visual.blocks[-1].attn, model.model.visual.blocks[-1], []
    module = sys.modules[type(watched).__module__]
    original = module.eager_attention_forward

    def forward(attention: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output, weights = original(attention, query, key, *args, **kwargs)
        if attention is watched:
            calls.append(key[0].transpose(0, 1) if cue == "encoder_keys" else weights[0].mean(0).mean(0))
        return output, weights

    def through(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(type(block).forward(block, *args, **kwargs))
        return calls[-1]

    if cue == "encoder_output":
        patch = mock.patch.object(block, "forward", through)
    else:
        patch = mock.patch.object(module, "eager_attention_forward", forward)
    kind = "video" if "video_grid_thw" in inputs else "image"
    pixels = inputs["pixel_values_videos" if kind == "video" else "pixel_values"]
    with patch, torch.no_grad():
        getattr(model.model, f"get_{kind}_features")(pixels, inputs[f"{kind}_grid_thw"])
    values = torch.cat(calls)
    return values.reshape(len(values) // 4, 4, -1).mean(1)


def from_windows(values: torch.Tensor, grids: torch.Tensor, side: int = 2) -> torch.Tensor:
    """Qwen2.5-VL's tokens (n, c) in the order of its windows, in raster order."""
    out, start = [], 0
    for steps, rows, columns in (grids // torch.tensor([1, 2, 2])).tolist():
        for _ in range(steps):
            grid = {}
            for top in range(0, rows, side):
                for left in range(0, columns, side):
                    for row in range(top, min(top + side, rows)):
                        for column in range(left, min(left + side, columns)):
                            grid[row, column] = values[start]
                            start += 1
            out += [grid[place] for place in sorted(grid)]
    return torch.stack(out)


def encoder_cue(name: str, model: Any, inputs: dict, cue: str) -> torch.Tensor:
    """(visual tokens of the prompt, c): one encoder cue of the zoo's family `name`.

    Args:
        name: of the family.
        model: with eager attention.
        inputs: of one modality.
        cue: its name.
    """
    if name.startswith(("qwen", "glm")):
        values = reading(model, inputs, cue)
        return (
            from_windows(values, inputs.get("image_grid_thw", inputs.get("video_grid_thw")))
            if "2_5" in name
            else values
        )
    if name in ("llava_next", "llava_next_video", "llava_onevision"):
        one_vision = name == "llava_onevision"
        return tiled(Tower(model, 2 if one_vision else 1, class_token=not one_vision), name, inputs, cue)
    if name == "xcomposer2":
        return viewed(Tower(model, 1), inputs, cue)
    tower = Tower(model, 2 if name == "internvl" else 1, class_token=name != "vila")
    images = [tower.patches(image, cue) for image in inputs["pixel_values"]]
    if name == "internvl":
        images = [mean_of_squares(patches) for patches in images]
    if name == "vila":
        images = [down_the_columns(mean_of_squares(patches)) for patches in images]
    return torch.cat(images)
