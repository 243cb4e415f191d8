"""What a Reduction kept, drawn from the image and the Reduction alone: no model is needed."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from pinhole.reduction import Reduction
from pinhole.view.plot import INK, accuracy_plot

__all__ = ["accuracy_plot", "heat_map", "overlay", "usage"]

COLORS = "viridis"
"""The colour map of every heat: even in brightness and safe for colour-blind readers."""
_SIDE = 576
"""Pixels that the longer side of a picture has at least; it has less than twice as many."""


def usage(reduction: Reduction) -> np.ndarray:
    """(n,) float32: how much each visual token of the image weighs in the kept ones, the column sums of |P|.

    Where the rows of P sum to 1 this sums to m.
    """
    return reduction.matrix().detach().float().cpu().abs().sum(0).numpy()


def overlay(image: Image.Image, reduction: Reduction, grid: tuple[int, int]) -> Image.Image:
    """What was kept, drawn over the image.

    A selection: kept patches as they are and outlined, the others dark and grey. A mixture: `usage` as heat, dark for
    0 and yellow for the most used patch, with the patch that weighs most in each kept token outlined.

    Args:
        image: what the encoder saw, after any cropping: the grid covers all of it, row by row.
        reduction: of this image, n = rows * columns.
        grid: (rows, columns) of visual tokens; the image's size need not be a multiple of it.

    Returns:
        An RGB picture with the proportions of `image`, its longer side 576 to 1151 pixels.

    Raises:
        ValueError: the grid does not have n places.
    """
    rows, columns = grid
    if rows * columns != reduction.n:
        raise ValueError(
            f"a grid of {rows} x {columns} has {rows * columns} places, the reduction {reduction.n} tokens"
        )
    canvas = fit(image)
    across, down = _edges(canvas.width, columns), _edges(canvas.height, rows)
    row_of, column_of = np.repeat(np.arange(rows), np.diff(down)), np.repeat(np.arange(columns), np.diff(across))
    token = row_of[:, None] * columns + column_of
    pixels = np.asarray(canvas, np.float32)
    grey = np.asarray(canvas.convert("L"), np.float32)[:, :, None]
    used = usage(reduction)
    if reduction.weights is None:
        shown = np.where((used > 0)[token][:, :, None], pixels, 0.42 * (0.3 * pixels + 0.7 * grey))
    else:
        level = used / max(float(used.max()), 1e-12)
        heat = matplotlib.colormaps[COLORS](level)[:, :3].astype(np.float32) * 255
        cover = (0.1 + 0.6 * np.sqrt(level))[token][:, :, None]
        shown = (1 - cover) * 0.6 * (0.6 * pixels + 0.4 * grey) + cover * heat[token]
    picture = Image.fromarray(np.clip(shown, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    width = max(1, round(min(canvas.width / columns, canvas.height / rows) / 14))
    for anchor in sorted(set(reduction.anchors.tolist())):
        row, column = divmod(anchor, columns)
        box = (across[column], down[row], across[column + 1] - 1, down[row + 1] - 1)
        draw.rectangle(box, outline="black", width=width + 1)
        draw.rectangle(box, outline="white", width=width)
    return picture


def heat_map(reduction: Reduction) -> Figure:
    """P, (m, n), as a heat map: one line per kept token, one column per visual token of the image."""
    weights = reduction.matrix().detach().float().cpu().numpy()
    figure = Figure(figsize=(10, min(6.0, 1.2 + 0.13 * reduction.m)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    heat = axes.imshow(weights, aspect="auto", cmap=COLORS, vmin=min(0.0, float(weights.min())))
    axes.set_xlabel("visual token of the image", color=INK)
    axes.set_ylabel("kept token", color=INK)
    bar = figure.colorbar(heat, ax=axes, pad=0.015, fraction=0.04)
    bar.set_label("weight in P", color=INK)
    for part in (axes, bar.ax):
        part.locator_params(axis="y", nbins=5, integer=part is axes)
        part.tick_params(colors=INK, labelsize=9)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    return figure


def fit(image: Image.Image) -> Image.Image:
    """The image in RGB, its longer side brought to at least 576 and under 1152 pixels by a whole factor or halves."""
    longer = max(image.size)
    factor = math.ceil(_SIDE / longer) if longer < 2 * _SIDE else (2 * _SIDE - 1) / longer
    size = [max(1, round(side * factor)) for side in image.size]
    return image.convert("RGB").resize((size[0], size[1]), Image.Resampling.BICUBIC)


def _edges(pixels: int, parts: int) -> np.ndarray:
    """(parts + 1,) whole pixels: where each of `parts` equal stretches starts, and the end of the last."""
    return (np.arange(parts + 1) * pixels / parts).round().astype(int)
