"""No method takes more memory than its paper needs: none but those listed makes anything that grows with n x n."""

from __future__ import annotations

import pytest
import torch

from pinhole import nearest
from pinhole.benchmark.growth import QUADRATIC, LargestTensor, Noise, Sizes, own_work
from pinhole.registry import METHODS, MethodSpec

N, KEPT = 4096, 32
SIZES = Sizes(width=16, heads=2, encoder_heads=2, text=8)
WITHOUT_KEEP = {"vtw", "adsc", "pyramiddrop", "sparsevlm", "full"}
ROWS = {"relevance": 512, "metacompress": 128, "pinhole": 128, "tome": nearest.ROWS // 2}
"""Numbers that a method holds for every token, where these are more than KEPT: channels; a query and a key; those that
tokens of one half, a block of them, have in common with each of the other."""
MERGING = ["spatial", "tome", "prumerge", "prumerge+", "visionzip"]


def method(name: str, keep: float = KEPT):
    settings = "" if name in WITHOUT_KEEP else f"keep={keep}"
    return MethodSpec.parse(f"{name}:{settings}").build(SIZES.width)


def largest(name: str, n: int, keep: float = KEPT) -> int:
    noise = Noise(torch.device("cpu"), torch.float32, SIZES)
    work = own_work(method(name, keep), n, noise)
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
    assert n**2 // 64 <= largest(name, n) <= n**2


@pytest.mark.parametrize("name", MERGING)
def test_at_a_fixed_share_a_method_that_merges_makes_nothing_that_grows_with_n_squared(name):
    some, more = largest(name, N, 0.25), largest(name, 2 * N, 0.25)
    assert some <= N * nearest.ROWS, "fewer numbers than P has places"
    assert more <= 2 * some + N, "twice the tokens, twice the memory"


@pytest.mark.parametrize("name", [*MERGING, "sparsevlm"])
def test_p_x_of_a_method_that_merges_holds_no_more_than_x_has_and_the_weights(name):
    noise = Noise(torch.device("cpu"), torch.float32, SIZES)
    reduction = own_work(method(name, 0.25), N // 4, noise)()
    assert reduction.sizes is not None
    assert len(reduction.weights) <= (0.25 * 32 + 1) * reduction.n, "32 neighbours of each kept token, in PruMerge"
    with LargestTensor() as made, torch.no_grad():
        reduction.apply(noise.numbers(reduction.n, SIZES.width))
    assert made.elements <= max(reduction.n * SIZES.width, len(reduction.weights))


def test_the_largest_tensor_is_seen_inside_an_operation_and_through_a_view():
    with LargestTensor() as made:
        torch.ones(50, 3)[:2] + 1
    assert made.elements == 150


@pytest.mark.parametrize("name", ["visionzip", "cdpruner", "relevance", "dart", "prumerge"])
def test_work_on_noise_keeps_what_the_method_says(name):
    noise = Noise(torch.device("cpu"), torch.float32, SIZES)
    reduction = own_work(method(name), 150, noise)()
    assert (reduction.n, reduction.m) == (150, KEPT)
