from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinhole import VisualTokens
from pinhole.layout import Layout
from pinhole.methods.visionselector import VisionSelector


def random(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def selector(width: int = 8, seed: int = 0, **given) -> VisionSelector:
    """With weights and biases as they are after training: not near zero."""
    method = VisionSelector.create(width, seed, **given).double()
    with torch.no_grad():
        for i, parameter in enumerate(method.parameters()):
            parameter.copy_(random(parameter.numel(), 1, 100 * seed + i).view_as(parameter))
    return method


def kept(method: VisionSelector, x: torch.Tensor) -> list[int]:
    return method.reduce(VisualTokens(x, Layout.of(len(x)), torch.zeros(1))).indices.tolist()


def as_printed(method: VisionSelector, x: torch.Tensor) -> torch.Tensor:
    """The paper's formula, with its matrix of all pairs."""
    return (method.q_proj(x) @ method.k_proj(x).T / method.hidden**0.5).mean(-1)


def by_loops(method: VisionSelector, x: list[list[float]]) -> list[float]:
    """The same, one number at a time."""

    def linear(layer: torch.nn.Linear) -> list[list[float]]:
        rows, bias = layer.weight.tolist(), layer.bias.tolist()
        return [[b + sum(w * v for w, v in zip(r, token, strict=True)) for r, b in zip(rows, bias, strict=True)]
                for token in x]  # fmt: skip

    queries, keys = linear(method.q_proj), linear(method.k_proj)
    scale = math.sqrt(method.hidden) * len(x)
    return [sum(sum(a * b for a, b in zip(q, k, strict=True)) for k in keys) / scale for q in queries]


def test_a_case_by_hand():
    # q = x + 1 in the first number, k = 2 x in the second, h = 1: tokens (0, 1), (2, 0), (-3, 2) have
    # q = 1, 3, -2 and k = 2, 0, 4, whose mean is 2: scores 2, 6, -4
    method = VisionSelector(2, hidden=1).double()
    with torch.no_grad():
        method.q_proj.weight.copy_(torch.tensor([[1.0, 0.0]])), method.q_proj.bias.fill_(1.0)
        method.k_proj.weight.copy_(torch.tensor([[0.0, 2.0]]))
    x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [-3.0, 2.0]]).double()
    assert method(x).tolist() == [2.0, 6.0, -4.0]
    for m, expected in ((1, [1]), (2, [0, 1]), (3, [0, 1, 2])):
        method.keep = m
        assert kept(method, x) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(2, 6), st.integers(1, 5), st.integers(0, 1000), st.data())
def test_scores_and_picks_equal_the_formula_in_plain_loops(n, width, hidden, seed, data):
    method, x = selector(width, seed, hidden=hidden), random(n, width, seed + 1)
    method.keep = data.draw(st.integers(1, n))
    expected = by_loops(method, x.tolist())
    torch.testing.assert_close(method(x), torch.tensor(expected).double())
    assert kept(method, x) == sorted(sorted(range(n), key=lambda i: -expected[i])[: method.keep])


def test_gradients_are_those_of_the_formula_as_printed():
    method, x = selector(12), random(20, 12, 5)
    weights = random(20, 1, 6)[:, 0]
    wanted = torch.autograd.grad(weights @ as_printed(method, x), list(method.parameters()))
    got = torch.autograd.grad(weights @ method(x), list(method.parameters()))
    for a, b in zip(got, wanted, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b)


def test_the_choice_itself_gives_no_gradients():
    x = random(20, 8, 0).requires_grad_()
    reduction = selector(keep=5).reduce(VisualTokens(x, Layout.of(20), torch.zeros(1)))
    assert reduction.apply(x).requires_grad, "the kept tokens are the image's own"
    assert reduction.weights is None


def test_equal_tokens_score_the_same_and_the_earlier_one_is_kept():
    newlines = torch.tensor([9, 19, 40, 41, 42])
    for seed in range(20):
        method, x = selector(64, seed, keep=39).float(), random(43, 64, seed).float()
        x[newlines] = x[9].clone()
        assert len(method(x)[newlines].unique()) == 1
        picks = kept(method, x)
        both = [index for index in newlines.tolist() if index in picks]
        assert both == newlines.tolist()[: len(both)]
    assert kept(selector(keep=3), torch.ones(8, 8).double()) == [0, 1, 2]
    assert kept(selector(keep=3), torch.zeros(8, 8).double()) == [0, 1, 2]


def test_half_precision_tokens_are_scored_in_the_weights_precision():
    method, x = selector(64, keep=9).float(), random(40, 64, 0).bfloat16()
    assert method(x).dtype == torch.float32
    assert kept(method, x) == kept(method.double(), x.double())


def test_weights_start_as_the_published_code_starts_them():
    method = VisionSelector.create(64)
    for layer in (method.q_proj, method.k_proj):
        assert layer.weight.shape == (32, 64)
        assert layer.weight.std().item() == pytest.approx(1e-4, rel=0.1)
        assert (layer.bias == 0).all()
    assert VisionSelector.create(64, init_std=0.5).q_proj.weight.std().item() == pytest.approx(0.5, rel=0.1)


def test_it_has_as_many_parameters_as_the_paper_says_for_qwen2_5_vl_7b():
    with torch.device("meta"):
        method = VisionSelector(3584)
    assert sum(p.numel() for p in method.parameters()) == 12_848_640  # "12.85M"


def test_the_seed_decides_the_weights_and_the_global_random_state_stays():
    state = torch.random.get_rng_state()
    one, same, other = (VisionSelector.create(8, seed) for seed in (1, 1, 2))
    assert torch.equal(one.q_proj.weight, same.q_proj.weight)
    assert not torch.equal(one.q_proj.weight, other.q_proj.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_is_loaded_is_what_was_saved_under_the_names_of_the_published_checkpoints(tmp_path):
    method = selector(keep=5, hidden=3, init_std=0.1)
    method.save_pretrained(tmp_path)
    loaded = VisionSelector.from_pretrained(str(tmp_path)).double()
    assert set(loaded.state_dict()) == {f"{name}_proj.{kind}" for name in "qk" for kind in ("weight", "bias")}
    assert (loaded.keep, loaded.width, loaded.settings()) == (5, 8, {"hidden": 3, "init_std": 0.1})
    x = random(20, 8, 0)
    torch.testing.assert_close(loaded(x), method(x), rtol=1e-6, atol=1e-6)  # from_pretrained gives float32
    assert VisionSelector.from_pretrained(str(tmp_path), keep=0.5).count(20) == 10


def test_flops_are_the_multiply_adds_of_the_short_form():
    # n = 10, d = 8, h = 4: key of the mean 8*4, back through W_q 4*8, scores 10*8, bias 4
    assert VisionSelector(8).flops(10, 2, 8) == 2 * (32 + 32 + 80 + 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden": 0}, "at least 1, got 8 and 0"),
        ({"width": 1}, "at least 1, got 1 and 0"),
        ({"init_std": 0.0}, "init_std is above 0"),
        ({"keep": 1.5}, "keep as a share"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        VisionSelector(**{"width": 8, **given})
