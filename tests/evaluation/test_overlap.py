"""Overlaps by hand, and their mean."""

from __future__ import annotations

import pytest
import torch

import zoo
from pinhole.evaluation.overlap import Overlap, cues_of, overlap_of, summary, top_tokens
from pinhole.families import family_of
from pinhole.reduction import Reduction


def test_the_first_tokens_of_a_cue():
    assert top_tokens(torch.tensor([0.1, 0.5, 0.2, 0.9]), 2).tolist() == [1, 3]
    assert top_tokens(torch.tensor([1.0, 2.0, 1.0, 1.0, 2.0]), 3).tolist() == [0, 1, 4], "of equal ones the first"
    each = torch.tensor([[0.0, 9.0], [4.0, 4.0], [5.0, 5.0], [8.0, 0.0]])  # means 4.5, 4, 5, 4
    assert top_tokens(each, 2).tolist() == [0, 2]


def test_an_overlap_by_hand():
    p = torch.tensor([[0.1, 0.6, 0.3, 0, 0, 0], [0, 0.5, 0.2, 0.3, 0, 0], [0, 0, 0, 0.2, 0, 0.8]])
    tops = {"cls_attention": torch.tensor([0, 1, 5]), "first_layer_attention": torch.tensor([2, 3, 4])}
    found = overlap_of(Reduction.mix(p), tops)  # anchors 1, 1, 5
    assert found == Overlap(6, 3, 2, {"cls_attention": 2, "first_layer_attention": 0})
    assert found.chance == pytest.approx(2 / 6)


def test_chance_is_what_random_rankings_give():
    reduction = Reduction.mix(torch.eye(20)[[3, 3, 7, 12, 19]])
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(2000):
        found = overlap_of(reduction, {"x": top_tokens(torch.rand(20, generator=generator), 5)})
        shares.append(found.shared["x"] / found.m)
    assert sum(shares) / len(shares) == pytest.approx(found.chance, abs=0.01)
    assert found.chance == 4 / 20


def test_a_selection_by_its_own_ranking_overlaps_wholly():
    cue = torch.rand(30, generator=torch.Generator().manual_seed(1))
    top = top_tokens(cue, 6)
    assert overlap_of(Reduction.select(top, 30), {"x": top}).shared == {"x": 6}


def test_means_are_over_images_and_intervals_over_dialogues():
    one, two, three = (Overlap(100, 10, kept, {"x": shared}) for kept, shared in ((10, 1), (5, 2), (10, 6)))
    found = summary([[one, two], [three]])
    assert found["images"] == 3
    assert found["kept"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["chance"] == pytest.approx((0.1 + 0.05 + 0.1) / 3)
    assert found["cues"]["x"]["overlap"] == pytest.approx(0.9 / 3)
    assert found["cues"]["x"]["ci95"] == pytest.approx((0.15, 0.6)), "both drawn are the first, or the second"


@pytest.mark.parametrize(
    ("family", "cue"),
    [("llava", "cls_attention"), ("internvl", "cls_attention"), ("qwen2_vl", "received_attention"), ("gemma3", None)],
)
def test_the_encoders_cue_is_the_class_tokens_where_there_is_one(family, cue):
    names = cues_of(family_of(zoo.model_of(family)))
    assert names == (*([cue] if cue else []), "first_layer_attention")
