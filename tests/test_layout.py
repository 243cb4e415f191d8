"""Source maps: which cell of which grid each token is."""

from __future__ import annotations

import pytest
import torch

from pinhole.layout import Layout, View

TILED = Layout.of(View(1, 2), View(2, 1, (0.0, -0.5, 1.0, 1.5)), 1)


def test_tokens_are_counted_grid_by_grid_with_separators_between():
    layout = Layout.of(View(1, 2), 2, View(2, 1))
    assert layout.n == 6
    assert layout.view.tolist() == [0, 0, -1, -1, 1, 1]
    assert layout.cell.tolist() == [0, 1, -1, -1, 0, 1]
    assert layout.separators.tolist() == [False, False, True, True, False, False]
    assert layout.grid is None


def test_one_whole_grid_is_a_grid_and_part_of_it_is_not():
    layout = Layout.of(View(2, 3))
    assert layout.grid == (2, 3)
    assert Layout.of(View(2, 3), 1).grid is None
    assert layout.take(torch.tensor([0, 2])).grid is None
    assert layout.take(torch.tensor([1, 0, 2, 3, 4, 5])).grid is None


def test_boxes_are_shares_of_the_picture():
    boxes = TILED.boxes()
    assert boxes[:4].tolist() == [[0, 0, 1, 0.5], [0, 0.5, 1, 1], [0, -0.5, 0.5, 1.5], [0.5, -0.5, 1, 1.5]]
    assert boxes[4].isnan().all()
    assert Layout.of(View(1, 1, None)).boxes().isnan().all()


def test_a_separator_belongs_to_the_frame_before_it():
    layout = Layout.of(1, View(1, 2, frame=0), 1, View(1, 1, frame=4), 2)
    assert layout.frames.tolist() == [0, 0, 0, 0, 4, 4, 4]


def test_taking_tokens_keeps_their_places_and_drops_empty_views():
    layout = Layout.of(View(1, 2, frame=0), View(2, 2, frame=1), 1)
    some = layout.take(torch.tensor([3, 6, 2]))
    assert some.views == (View(2, 2, frame=1),)
    assert some.view.tolist() == [0, -1, 0]
    assert some.cell.tolist() == [1, -1, 0]
    torch.testing.assert_close(some.boxes(), layout.boxes()[[3, 6, 2]], equal_nan=True)


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [1, 1, 0]])
def test_boxes_follow_the_order_taken(order):
    torch.testing.assert_close(TILED.take(torch.tensor(order)).boxes(), TILED.boxes()[order], equal_nan=True)


def test_boxes_within_a_part_are_shares_of_the_larger_picture():
    inner = Layout.of(View(1, 2), View(1, 1, None), View(1, 1, (0.0, -0.5, 1.0, 1.5)), 1)
    moved = inner.within((0.25, 0.5, 0.75, 1.0))
    assert [view.box for view in moved.views] == [(0.25, 0.5, 0.75, 1.0), None, (0.25, 0.25, 0.75, 1.25)]
    assert moved.boxes()[:2].tolist() == [[0.25, 0.5, 0.75, 0.75], [0.25, 0.75, 0.75, 1.0]]
    assert inner.within((0.0, 0.0, 1.0, 1.0)) is inner


def test_values_lie_on_their_grids():
    layout = Layout.of(View(1, 2), 1, View(2, 2)).take(torch.tensor([1, 0, 2, 5, 3, 6]))
    first, second = layout.on_grids(torch.tensor([10, 20, 30, 40, 50, 60]))
    assert first.tolist() == [[20, 10]]
    assert second[0, 0] == 50
    assert second[1].tolist() == [40, 60]
    assert second[0, 1].isnan()


def test_what_is_written_is_read():
    layout = Layout.of(View(1, 2, (0.1, -0.2, 1 / 3, 1.5), 3), 2, View(2, 1, None))
    again = Layout.read(layout.written())
    assert again.views == layout.views
    assert torch.equal(again.view, layout.view)
    assert torch.equal(again.cell, layout.cell)
