"""What a Reduction kept, drawn from the image and the Reduction alone: no model is needed."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from pinhole.layout import Layout, View
from pinhole.reduction import Reduction
from pinhole.view.marks import COLORS, of_reduction
from pinhole.view.paint import fit, paint
from pinhole.view.plot import INK, accuracy_plot
from pinhole.view.subject import Decision

__all__ = ["accuracy_plot", "draw_map", "fit", "heat_map", "layer_usage", "map_figure", "overlay"]

_ACROSS, _DOWN = 1200, 240
"""The most columns and rows of a map: of more, each that is drawn shows the largest of several."""


def overlay(image: Image.Image, reduction: Reduction, grid: tuple[int, int]) -> Image.Image:
    """What was kept, drawn over the image.

    A selection: kept patches as they are and outlined, the others dark and grey. A mixture: `Reduction.usage` as heat,
    dark for 0 and yellow for the most used patch, with the patch that weighs most in each kept token outlined.

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
    return paint(image, Layout.of(View(rows, columns)), 0, of_reduction(reduction)[0])


def heat_map(reduction: Reduction) -> Figure:
    """P, (m, n), as a heat map: one line per kept token, one column per visual token of the image."""
    return map_figure(reduction.matrix().detach().float().cpu(), "kept token", "weight in P", 10)


def layer_usage(decision: Decision) -> torch.Tensor:
    """(layers, n) float32: how much each visual token weighs in those that a layer reads, 0 where it is gone."""
    stages = [stage.reduction.usage().expand(stage.last - stage.first + 1, -1) for stage in decision.stages()]
    return torch.cat(stages)


def draw_map(axes: Axes, values: torch.Tensor) -> AxesImage:
    """Values (r, c) as heat in some axes, which count rows and columns; where these are many, peaks stay."""
    rows, columns = values.shape
    size = min(rows, _DOWN), min(columns, _ACROSS)
    shown = torch.nn.functional.adaptive_max_pool2d(values[None], size)[0].numpy()
    lowest = min(0.0, float(values.min()))
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    return axes.imshow(shown, aspect="auto", cmap=COLORS, vmin=lowest, extent=extent, interpolation="nearest")


def map_figure(values: torch.Tensor, line: str, weight: str, width: float) -> Figure:
    """A matrix (r, n) with a column for each visual token, as a figure of its own with named axes.

    Args:
        values: not below 0.
        line: what a row is.
        weight: what a value is.
        width: of the figure, in inches.
    """
    figure = Figure(figsize=(width, min(6.0, 1.2 + 0.13 * len(values))), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    heat = draw_map(axes, values)
    axes.set_xlabel("visual token of the image", color=INK)
    axes.set_ylabel(line, color=INK)
    bar = figure.colorbar(heat, ax=axes, pad=0.015, fraction=0.04)
    bar.set_label(weight, color=INK)
    for part in (axes, bar.ax):
        part.locator_params(axis="y", nbins=5, integer=part is axes)
        part.tick_params(colors=INK, labelsize=9)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    return figure
