import numpy as np
import pytest
import torch
from PIL import Image

from pinhole.reduction import Reduction
from pinhole.view.pictures import fit, heat_map, overlay

GRID = (3, 5)
SIZE = (101, 67)
"""A width and height that 5 and 3 do not divide."""


@pytest.fixture
def image():
    return Image.new("RGB", SIZE, (200, 120, 60))


def centres(picture):
    """(3, 5, 3) colours at the middle of each patch."""
    pixels = np.asarray(picture).astype(int)
    rows = ((np.arange(GRID[0]) + 0.5) * pixels.shape[0] / GRID[0]).astype(int)
    columns = ((np.arange(GRID[1]) + 0.5) * pixels.shape[1] / GRID[1]).astype(int)
    return pixels[rows][:, columns]


def test_a_selection_leaves_kept_patches_and_dims_the_others(image):
    kept = torch.tensor([0, 7, 14])
    colors = centres(overlay(image, Reduction.select(kept, 15), GRID)).reshape(15, 3)
    for token in range(15):
        if token in kept:
            assert colors[token].tolist() == [200, 120, 60]
        else:
            assert colors[token].sum() < 0.5 * (200 + 120 + 60)


def test_patches_meet_without_gaps_and_outlines_stay_inside(image):
    picture = np.asarray(overlay(image, Reduction.select(torch.tensor([6]), 15), GRID)).astype(int)
    height, width = picture.shape[:2]
    bright = np.argwhere(picture.max(-1) == 255)
    (top, left), (bottom, right) = bright.min(0), bright.max(0)
    assert top == round(height / 3)
    assert bottom == round(2 * height / 3) - 1
    assert left == round(width / 5)
    assert right == round(2 * width / 5) - 1


def test_a_mixture_is_brighter_where_it_is_used_more(image):
    weights = torch.zeros(2, 15)
    weights[0, 3], weights[1, 3], weights[1, 11] = 1.0, 0.4, 0.6
    brightness = centres(overlay(image, Reduction.mix(weights.requires_grad_()), GRID)).sum(-1).flatten()
    unused = np.delete(brightness, [3, 11])
    assert brightness[3] > brightness[11] > unused.max()
    assert unused.min() == unused.max()


def test_anchors_are_outlined_in_white(image):
    weights = torch.full((1, 15), 0.05)
    weights[0, 9] = 0.3
    pixels = np.asarray(overlay(image, Reduction.mix(weights), GRID))
    white = np.argwhere((pixels == 255).all(-1))
    rows, columns = white[:, 0] * 3 // pixels.shape[0], white[:, 1] * 5 // pixels.shape[1]
    assert len(white) > 100
    assert (rows == 1).all()
    assert (columns == 4).all()


def test_the_grid_must_have_n_places(image):
    with pytest.raises(ValueError, match="3 x 5 has 15 places, the reduction 14 tokens"):
        overlay(image, Reduction.identity(14), GRID)


@pytest.mark.parametrize("size", [(1, 1), (144, 144), (576, 300), (1151, 700), (4000, 3000), (30, 2000)])
def test_pictures_are_large_enough_to_read_and_small_enough_to_embed(size):
    shown = fit(Image.new("L", size)).size
    assert 576 <= max(shown) < 1152
    assert shown[0] / shown[1] == pytest.approx(size[0] / size[1], rel=0.05)


def test_heat_map_shows_p_with_named_axes():
    weights = torch.rand(4, 15)
    figure = heat_map(Reduction.mix(weights))
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("visual token of the image", "kept token")
    assert np.allclose(axes.images[0].get_array(), weights.numpy())
    assert bar.get_ylabel() == "weight in P"
    figure.canvas.draw()
