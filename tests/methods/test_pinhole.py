from __future__ import annotations

import json
import math

import pytest
import torch

from pinhole import Pinhole, VisualTokens
from pinhole.benchmark.flops import flop_counter
from pinhole.farthest import farthest_first
from pinhole.layout import Layout, View
from pinhole.places import NUMBERS, places

ROWS, COLUMNS = 4, 5


def tokens(width: int = 8, seed: int = 0, rows: int = ROWS, columns: int = COLUMNS) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows * columns, width, generator=generator, dtype=torch.float64) + 3.0
    return VisualTokens(x, Layout.of(View(rows, columns)), x)


def trained(**settings) -> Pinhole:
    """Weights as training might leave them: nothing is 0 any more, queries and keys have parted."""
    method = Pinhole.create(8, seed=3, **{"d_c": 4, "heads": 2, "keep": 5, **settings}).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return method


def by_formula(method: Pinhole, image: VisualTokens, m: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P, C and the seeds, from the docstring's formulas, without blocks and shared products."""
    x, where = image.x, places(image.layout).double()
    mean = x.mean(0)
    s = math.sqrt(x.shape[1]) / (x - mean).norm(dim=1).mean()
    z = s * (x - mean)
    queries, keys = z @ method.w_q + where @ method.v_q, z @ method.w_k + where @ method.v_k
    seeds = farthest_first(keys, m)
    p = (method.log_temperature.exp() * queries[seeds] @ keys.T / math.sqrt(method.d_c)).softmax(-1)
    apart = torch.stack([(keys - keys[seed]).square().sum(1) for seed in seeds])
    many = (-4 * apart / math.sqrt(method.d_c)).softmax(0).sum(1)
    told = torch.cat([p @ z, z[seeds] - p @ z, where[seeds], many.log()[:, None]], 1)
    c = method.say(method.norm(method.mix(method.tell(told), keys))) / s
    return p, c, seeds


@pytest.mark.parametrize("m", [1, 2, 5, 19])
def test_p_and_the_correction_are_the_formula(m):
    method, image = trained(), tokens()
    p, c, _ = by_formula(method, image, m)
    found, correction = method(image.x, places(image.layout), m)
    torch.testing.assert_close(found, p, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(correction, c, rtol=1e-5, atol=1e-6)


def test_the_reduction_is_p_x_plus_the_correction():
    method, image = trained(), tokens()
    p, c, _ = by_formula(method, image, 5)
    torch.testing.assert_close(method.reduce(image).apply(image.x), p @ image.x + c, rtol=1e-5, atol=1e-6)
    plain = trained(correct=False)
    reduction = plain.reduce(image)
    assert reduction.correction is None
    torch.testing.assert_close(reduction.apply(image.x), plain(image.x, places(image.layout), 5)[0] @ image.x)


def test_untrained_it_adds_nothing_and_every_row_looks_at_its_seed_first():
    method, image = Pinhole.create(64, keep=6, d_c=32).double(), tokens(64)
    reduction = method.reduce(image)
    assert not reduction.correction.any()
    keys = by_formula(method, image, 6)[2]
    assert reduction.anchors.tolist() == keys.tolist()


def test_rows_are_in_the_order_of_the_image():
    anchors = Pinhole.create(64, keep=9, d_c=32).double().reduce(tokens(64)).anchors
    assert (anchors.diff() > 0).all()


def test_a_common_offset_and_scale_change_neither_p_nor_what_the_correction_is_to_x():
    method, image = trained(), tokens()
    other = VisualTokens(7 * image.x + 100, image.layout, image.pixels)
    one, two = method.reduce(image), method.reduce(other)
    torch.testing.assert_close(two.weights, one.weights, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(two.correction, 7 * one.correction, rtol=1e-6, atol=1e-7)


def test_without_the_place_it_is_blind_to_the_order_of_the_tokens():
    method, image = trained(), tokens()
    with torch.no_grad():
        for v in (method.v_q, method.v_k):
            v.zero_()
    backwards = torch.arange(image.n).flip(0)
    p, c = method(image.x, torch.zeros(image.n, NUMBERS), 5)
    other, turned = method(image.x[backwards], torch.zeros(image.n, NUMBERS), 5)
    torch.testing.assert_close(other.flip(0)[:, backwards], p)
    torch.testing.assert_close(turned.flip(0), c)
    assert not torch.allclose(trained().reduce(image).weights.flip(0), trained().reduce(image.take(backwards)).weights)


def test_one_set_of_weights_serves_any_size_and_share_and_half_precision():
    method = Pinhole.create(8, d_c=4, heads=2)
    for rows, columns, keep in [(1, 1, 0.1), (1, 3, 2), (6, 6, 0.25), (24, 24, 0.1), (40, 72, 64)]:
        method.keep = keep
        image = tokens(rows=rows, columns=columns)
        half = VisualTokens(image.x.bfloat16(), image.layout, image.pixels)
        kept = method.reduce(half).apply(half.x)
        assert kept.shape == (method.count(image.n), 8)
        assert kept.dtype == torch.bfloat16
        assert kept.isfinite().all()


def test_tokens_that_are_all_alike_give_finite_numbers():
    x = torch.ones(10, 8)
    reduction = trained().float().reduce(VisualTokens(x, Layout.of(View(2, 5)), x))
    assert reduction.apply(x).isfinite().all()


def test_every_parameter_gets_a_gradient():
    method, image = trained(), tokens()
    method.reduce(image).apply(image.x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())


def test_flops_are_the_products_that_pytorch_counts_and_the_distances():
    # PyTorch's counter passes over distances: to the seeds one by one, and of all to all seeds
    method, image, m = Pinhole.create(16, keep=5, d_c=8), tokens(16), 5
    x = image.x.float()
    with flop_counter() as counter, torch.no_grad():
        method.reduce(VisualTokens(x, image.layout, x)).apply(x)
    distances = 2 * 2 * m * image.n * 8
    assert method.flops(image.n, m, 16) == counter.get_total_flops() + distances


def test_what_is_loaded_is_what_was_saved(tmp_path):
    method, image = Pinhole.create(8, seed=4, keep=0.2, d_c=4, heads=2, temperature=2.0), tokens()
    method.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {name: config[name] for name in method.settings()} == method.settings()
    loaded = Pinhole.from_pretrained(str(tmp_path))
    assert (loaded.keep, loaded.settings()) == (0.2, method.settings())
    assert torch.equal(loaded.reduce(image).weights, method.reduce(image).weights)
    assert Pinhole.from_pretrained(str(tmp_path), keep=7).count(100) == 7


def test_the_seed_decides_the_weights_and_the_global_random_state_stays():
    state = torch.random.get_rng_state()
    one, same, other = (Pinhole.create(8, seed) for seed in (1, 1, 2))
    assert torch.equal(one.tell.weight, same.tell.weight)
    assert not torch.equal(one.tell.weight, other.tell.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_c": 0}, "at least 1"),
        ({"d_c": 6}, "a multiple of heads; got 8, 6, 4"),
        ({"temperature": 0.0}, "temperature is above 0"),
        ({"keep": 1.5}, "keep as a share"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Pinhole(8, **settings)
