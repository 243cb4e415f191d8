"""What was kept of an image beside what attention ranks first, drawn as one sheet."""

from __future__ import annotations

import textwrap

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pinhole.reduction import Reduction
from pinhole.view.cells import percent
from pinhole.view.pictures import overlay
from pinhole.view.plot import INK

CUES = {
    "cls_attention": "[CLS] attention",
    "received_attention": "attention received",
    "first_layer_attention": "attention of the question",
}
SHARED = "#e69f00"
"""Of the tokens that both sides have: orange, which no reader mistakes for the white of the other outlines."""


def overlap_sheet(
    title: str, image: Image.Image, grid: tuple[int, int], reduction: Reduction, tops: dict[str, torch.Tensor]
) -> Figure:
    """The kept tokens, and beside them those that each cue ranks first; tokens of both are outlined in orange.

    Args:
        title: such as the question; words beyond one line are left out.
        image: what the encoder saw: the grid covers all of it, row by row.
        grid: (rows, columns) of visual tokens.
        reduction: of them; its anchors are what it keeps.
        tops: by cue, (m,) tokens.

    Raises:
        ValueError: the grid does not fit the reduction.
    """
    anchors = reduction.anchors.unique().cpu()
    kept, panels = set(anchors.tolist()), {f"kept: {len(anchors)} tokens in {reduction.m} rows": anchors}
    for name, tokens in tops.items():
        shared = len(kept & set(tokens.tolist()))
        panels[f"{CUES[name]}, first {len(tokens)}:\n{shared} of them kept ({percent(shared / len(tokens))})"] = (
            tokens.cpu()
        )
    height = 3.4 * image.height / image.width + 0.7
    figure = Figure(figsize=(3.4 * len(panels), height), dpi=150, layout="constrained")
    figure.suptitle(textwrap.shorten(title, 38 * len(panels)), color=INK, fontsize=11, parse_math=False)
    common = set.union(*(kept & set(tokens.tolist()) for tokens in tops.values()))
    for axes, (heading, tokens) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        picture = overlay(image, Reduction.select(tokens, reduction.n), grid)
        axes.imshow(picture)
        axes.set_title(heading, color=INK, fontsize=9.5)
        axes.set_axis_off()
        down, across = picture.height / grid[0], picture.width / grid[1]
        for token in common & set(tokens.tolist()):
            row, column = divmod(token, grid[1])
            corner = (column * across - 0.5, row * down - 0.5)
            axes.add_patch(Rectangle(corner, across, down, fill=False, edgecolor=SHARED, linewidth=2.2))
    return figure
