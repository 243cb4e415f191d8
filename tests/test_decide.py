"""What a method is asked about, and the order in which its answers are put together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from pinhole import Random, Sample, Scope, Spatial
from pinhole.decide import decide
from pinhole.families.parts import Visual
from pinhole.layout import Layout, View
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Backwards(TrainingFree):
    """The last tokens, last first."""

    name = "backwards"
    paper = "none"

    def reduce(self, image):
        return Reduction.select(torch.arange(image.n - 1, image.n - 1 - self.count(image.n), -1), image.n)


@dataclass(frozen=True)
class Mixing(TrainingFree):
    """Row i leans on token n - 1 - i."""

    name = "mixing"
    paper = "none"

    def reduce(self, image):
        m = self.count(image.n)
        return Reduction.mix(torch.eye(image.n).flip(0)[:m] * 0.5 + 0.5 / image.n)


def visual(layout: Layout, modality: str = "image", columns: torch.Tensor | None = None) -> Visual:
    x = torch.arange(float(layout.n))[:, None]
    tokens = VisualTokens(x, layout, torch.arange(12.0))
    return Visual(tokens, modality, 0, torch.arange(layout.n) + 7 if columns is None else columns)


TILED = Layout.of(View(2, 2), View(1, 2), 1, View(1, 2), 1)
"""Ten tokens; 6 and 9 are newlines."""
VIDEO = Layout.of(*(View(2, 2, frame=frame) for frame in range(3)), 1)
"""Three frames of four tokens; 12 is a newline."""


def test_by_default_the_whole_sequence_is_put_to_the_method_in_its_order():
    assert decide(Backwards(keep=3), visual(TILED), Scope()).indices.tolist() == [9, 8, 7]
    assert decide(Backwards(keep=3), visual(VIDEO, "video"), Scope()).indices.tolist() == [12, 11, 10]


def test_kept_separators_stay_between_the_tokens_that_they_part():
    reduction = decide(Backwards(keep=4), visual(TILED), Scope(separators="keep"))
    assert reduction.indices.tolist() == [4, 5, 6, 7, 8, 9]
    assert decide(Backwards(keep=0.5), visual(TILED), Scope(separators="keep")).m == 4 + 2


def test_kept_separators_come_in_anchor_order_among_mixtures():
    reduction = decide(Mixing(keep=3), visual(TILED), Scope(separators="keep"))
    assert reduction.anchors.tolist() == [5, 6, 7, 8, 9]
    p = reduction.matrix()
    assert p[1].tolist() == [0.0] * 6 + [1.0] + [0.0] * 3
    assert p[0].tolist() == [1 / 16] * 5 + [1 / 16 + 0.5, 0, 1 / 16, 1 / 16, 0]


def test_keeping_separators_changes_nothing_where_there_are_none():
    layout = Layout.of(View(2, 3))
    kept = decide(Backwards(keep=3), visual(layout), Scope(separators="keep"))
    assert kept.indices.tolist() == [5, 4, 3]


def test_a_video_is_reduced_frame_by_frame_where_asked():
    scope = Scope(video="frame")
    reduction = decide(Sample(keep=0.5), visual(VIDEO, "video"), scope)
    assert reduction.indices.tolist() == [1, 3, 5, 7, 8, 10, 12]  # the last frame has the newline: 5 tokens, 3 kept
    assert decide(Sample(keep=0.5), visual(VIDEO, "image"), scope).m == 7  # floor(13 / 2 + 1/2), as one unit
    frames_and_newline = decide(Sample(keep=0.5), visual(VIDEO, "video"), Scope(video="frame", separators="keep"))
    assert frames_and_newline.indices.tolist() == [1, 3, 5, 7, 9, 11, 12]


def test_each_frame_has_a_random_subset_of_its_own():
    layout = Layout.of(*(View(8, 8, frame=frame) for frame in range(3)))
    reduction = decide(Random(keep=0.25), visual(layout, "video"), Scope(video="frame"))
    subsets = [set((part % 64).tolist()) for part in reduction.indices.split(16)]
    assert all(len(subset) == 16 for subset in subsets)
    assert subsets[0] != subsets[1] != subsets[2] != subsets[0]


def test_mixtures_of_frames_stay_within_their_frame():
    p = decide(Mixing(keep=0.5), visual(VIDEO, "video"), Scope(video="frame", separators="keep")).matrix()
    assert p.shape == (7, 13)
    for row, frame in enumerate([0, 0, 1, 1, 2, 2]):
        assert set(p[row].nonzero()[:, 0].tolist()) == set(range(4 * frame, 4 * frame + 4))


def test_where_text_stands_between_frames_each_token_stays_behind_its_own_frame():
    columns = torch.tensor([3, 4, 5, 6, 10, 11, 12, 13])
    layout = Layout.of(*(View(2, 2, frame=frame) for frame in range(2)))
    apart = decide(Backwards(keep=6), visual(layout, "video", columns), Scope())
    assert apart.indices.tolist() == [3, 2, 7, 6, 5, 4]  # run by run, in the method's order within each
    mixed = decide(Mixing(keep=6), visual(layout, "video", columns), Scope())
    assert mixed.anchors.tolist() == [3, 2, 7, 6, 5, 4]


def test_everything_is_kept_without_asking_the_method():
    class Never(Sample):
        def reduce(self, image):
            raise AssertionError

    for scope in (Scope(), Scope(separators="keep"), Scope(video="frame")):
        assert decide(Never(keep=1.0), visual(VIDEO, "video"), scope).indices.tolist() == list(range(13))


def test_spatial_pools_tiles_and_frames_each_on_its_own_grid():
    reduction = decide(Spatial(keep=3), visual(TILED), Scope())
    assert reduction.matrix().tolist() == [
        [0.25] * 4 + [0.0] * 6,
        [0.0] * 4 + [0.5, 0.5] + [0.0] * 4,
        [0.0] * 7 + [0.5, 0.5] + [0.0],
    ]
    video = decide(Spatial(keep=6), visual(VIDEO, "video"), Scope())
    assert video.m == 6
    assert [set(row.nonzero()[:, 0].tolist()) for row in video.matrix()][:2] in (
        [{0, 1}, {2, 3}],
        [{0, 2}, {1, 3}],
    )
    assert decide(Spatial(keep=2), visual(VIDEO, "video"), Scope()).m == 2  # fewer than frames: one row of tokens


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("positions", "new", "compact, original or None"),
        ("video", "second", "whole or frame"),
        ("separators", "drop", "reduce or keep"),
    ],
)
def test_a_scope_names_what_it_takes(setting, value, allowed):
    with pytest.raises(ValueError, match=f"{setting} is {allowed}.* got '{value}'"):
        Scope(**{setting: value})


@pytest.mark.parametrize("method", [Backwards(keep=3), Mixing(keep=3), Sample(keep=1.0)])
def test_what_is_decided_knows_where_its_tokens_come_from(method):
    for scope in (Scope(), Scope(separators="keep")):
        assert decide(method, visual(TILED), scope).layout is TILED
