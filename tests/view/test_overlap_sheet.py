"""The sheet shows what was kept beside what each cue ranks first, and marks what they share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from pinhole.reduction import Reduction
from pinhole.view.overlap_sheet import SHARED, overlap_sheet

IMAGE = Image.new("RGB", (100, 60), (200, 120, 60))
P = torch.zeros(3, 15)
P[0, 2], P[1, 2], P[2, 8] = 1, 0.7, 0.9  # anchors 2, 2, 8
TOPS = {"cls_attention": torch.tensor([0, 2, 5]), "first_layer_attention": torch.tensor([8, 2, 14])}


def marked(axes, size, grid=(3, 5)):
    """The tokens that are outlined as shared."""
    down, across = size[1] / grid[0], size[0] / grid[1]
    tokens = []
    for patch in axes.patches:
        assert to_hex(patch.get_edgecolor()) == SHARED
        column, row = ((patch.get_x() + 0.5) / across, (patch.get_y() + 0.5) / down)
        tokens.append(round(row) * grid[1] + round(column))
    return sorted(tokens)


def test_shared_tokens_are_marked_where_they_are_shown():
    figure = overlap_sheet("Is $5 shown, or 6$?", IMAGE, (3, 5), Reduction.mix(P), TOPS)
    assert [axes.get_title() for axes in figure.axes] == [
        "kept: 2 tokens in 3 rows",
        "[CLS] attention, first 3:\n1 of them kept (33.3 %)",
        "attention of the question, first 3:\n2 of them kept (66.7 %)",
    ]
    size = figure.axes[0].images[0].get_array().shape[1::-1]
    assert [marked(axes, size) for axes in figure.axes] == [[2, 8], [2], [2, 8]]
    figure.canvas.draw()


def test_every_panel_shows_its_own_tokens():
    figure = overlap_sheet("?", IMAGE, (3, 5), Reduction.mix(P), TOPS)
    for axes, tokens in zip(figure.axes, ([2, 8], [0, 2, 5], [2, 8, 14]), strict=True):
        pixels = np.asarray(axes.images[0].get_array()).astype(int)
        rows = ((np.arange(3) + 0.5) * pixels.shape[0] / 3).astype(int)
        columns = ((np.arange(5) + 0.5) * pixels.shape[1] / 5).astype(int)
        bright = (pixels[rows][:, columns] == [200, 120, 60]).all(-1).flatten()
        assert bright.nonzero()[0].tolist() == tokens


def test_one_cue_is_enough():
    figure = overlap_sheet("?", IMAGE, (3, 5), Reduction.mix(P), {"received_attention": torch.tensor([0, 1, 3])})
    assert figure.axes[1].get_title() == "attention received, first 3:\n0 of them kept (0.0 %)"
    assert not figure.axes[0].patches


def test_the_grid_must_have_n_places():
    with pytest.raises(ValueError, match="a grid of 3 x 6 has 18 places"):
        overlap_sheet("?", IMAGE, (3, 6), Reduction.mix(P), TOPS)
