from __future__ import annotations

import torch

from pinhole import Random, VisualTokens
from pinhole.layout import Layout


def image(seed: int, n: int = 50) -> VisualTokens:
    pixels = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return VisualTokens(torch.zeros(n, 2), Layout.of(n), pixels)


def test_kept_tokens_are_distinct_and_in_order():
    kept = Random(keep=20).reduce(image(0)).indices.tolist()
    assert len(kept) == 20
    assert kept == sorted(set(kept))
    assert kept != list(range(20))


def test_the_same_image_keeps_the_same_tokens_whatever_was_drawn_before():
    first = Random(keep=20).reduce(image(0)).indices
    torch.rand(7)
    Random(keep=20).reduce(image(1))
    assert torch.equal(Random(keep=20).reduce(image(0)).indices, first)


def test_drawing_leaves_the_global_random_state_alone():
    state = torch.random.get_rng_state()
    Random(keep=20).reduce(image(0))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_image_and_another_seed_keep_other_tokens():
    draws = {tuple(Random(keep=20, seed=s).reduce(image(i)).indices.tolist()) for s in range(3) for i in range(3)}
    assert len(draws) == 9


def test_every_token_is_kept_as_often_as_any_other():
    counts = torch.zeros(50)
    for seed in range(2000):
        counts[Random(keep=10, seed=seed).reduce(image(0)).indices] += 1
    deviation = (2000 * 0.2 * 0.8) ** 0.5
    assert (counts - 400).abs().max() < 5 * deviation


def test_the_fingerprint_sees_values_and_not_memory_layout():
    pixels = torch.arange(24.0).view(2, 3, 4)

    def fingerprint(pixels):
        return VisualTokens(pixels, Layout.of(len(pixels)), pixels).fingerprint

    assert fingerprint(pixels) == fingerprint(pixels.transpose(0, 2).contiguous().transpose(0, 2))
    assert fingerprint(pixels) != fingerprint(pixels + 1)
    assert fingerprint(pixels.bfloat16()) == fingerprint(pixels.bfloat16().clone())
