"""No method takes more memory than its paper needs: none but those listed makes anything that grows with n x n."""

from __future__ import annotations

import pytest
import torch

from pinhole.benchmark.growth import QUADRATIC, LargestTensor, Noise, Sizes, own_work
from pinhole.registry import METHODS, MethodSpec

N, KEPT = 4096, 32
SIZES = Sizes(width=16, heads=2, encoder_heads=2, text=8)
WITHOUT_KEEP = {"vtw", "adsc", "pyramiddrop", "sparsevlm", "full"}
ROWS = {"relevance": 512, "metacompress": 128}
"""Numbers that a method holds for every token, where these are more than KEPT: channels; a query and a key."""


def method(name: str):
    settings = "" if name in WITHOUT_KEEP else f"keep={KEPT}"
    return MethodSpec.parse(f"{name}:{settings}").build(SIZES.width)


def largest(name: str, n: int) -> int:
    noise = Noise(torch.device("cpu"), torch.float32, SIZES)
    work = own_work(method(name), n, noise)
    with LargestTensor() as made, torch.no_grad():
        work()
    return made.elements


NAMES = sorted(METHODS.keys() - {"oracle"})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUADRATIC])
def test_a_method_that_needs_less_makes_nothing_that_grows_with_n_squared(name):
    some, more = largest(name, N // 2), largest(name, N)
    assert more <= N * ROWS.get(name, 2 * KEPT)
    assert more <= 2 * some + N, "twice the tokens, twice the memory"


@pytest.mark.parametrize("name", sorted(QUADRATIC))
def test_the_methods_listed_do_need_it_and_no_more(name):
    n = N // 4
    assert n**2 // 32 <= largest(name, n) <= n**2


def test_the_largest_tensor_is_seen_inside_an_operation_and_through_a_view():
    with LargestTensor() as made:
        torch.ones(50, 3)[:2] + 1
    assert made.elements == 150


@pytest.mark.parametrize("name", ["visionzip", "cdpruner", "relevance", "dart", "prumerge"])
def test_work_on_noise_keeps_what_the_method_says(name):
    noise = Noise(torch.device("cpu"), torch.float32, SIZES)
    reduction = own_work(method(name), 150, noise)()
    assert (reduction.n, reduction.m) == (150, KEPT)
