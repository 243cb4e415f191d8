from __future__ import annotations

import json
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinhole import MetaCompress, VisualTokens, normalization
from pinhole.layout import Layout


def tokens(n: int, width: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator, dtype=torch.float64) + 3.0


def by_hand(method: MetaCompress, x: list[list[float]], m: int) -> list[list[float]]:
    """P with loops over plain numbers, from the formula and the docstring's choices alone."""
    n, d, d_c = len(x), method.width, method.d_c
    w_q, w_k, b = method.w_q.tolist(), method.w_k.tolist(), method.b.tolist()
    z = [list(row) for row in x]
    if method.normalize == "image":
        mean = [sum(row[c] for row in x) / n for c in range(d)]
        z = [[row[c] - mean[c] for c in range(d)] for row in x]
        norm = sum(math.sqrt(sum(v * v for v in row)) for row in z) / n
        z = [[v * math.sqrt(d) / norm for v in row] for row in z]
    if method.positions == "sinusoidal":
        for i in range(n):
            for c in range(d):
                angle = i / 10000 ** ((c - c % 2) / d)
                z[i][c] += math.sin(angle) if c % 2 == 0 else math.cos(angle)
    kernel = min(method.kernel, n)
    pooled = []
    for i in range(m):
        start = math.floor(i * (n - kernel) / (m - 1)) if m > 1 else (n - kernel) // 2
        window = z[start : start + kernel]
        pooled.append([sum(row[c] for row in window) / kernel for c in range(d)])
    temperature = 1.0 if method.log_temperature is None else math.exp(method.log_temperature.item())
    queries = [[sum(row[c] * w_q[c][k] for c in range(d)) for k in range(d_c)] for row in pooled]
    keys = [[sum(row[c] * w_k[c][k] for c in range(d)) for k in range(d_c)] for row in z]
    p = []
    for query in queries:
        logits = [temperature * sum(query[k] * b[k] * key[k] for k in range(d_c)) / math.sqrt(d_c) for key in keys]
        exponentials = [math.exp(v - max(logits)) for v in logits]
        p.append([v / sum(exponentials) for v in exponentials])
    return p


@pytest.mark.parametrize(("n", "m"), [(12, 5), (12, 1), (2, 1), (2, 2), (20, 19), (144, 14)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalize": "none", "positions": "none", "temperature": None},
        {"kernel": 5, "temperature": 0.5},
        {"kernel": 1, "positions": "none", "init_std": 0.3},
        {"normalize": "none", "init_std": 0.02},
    ],
    ids=str,
)
def test_p_equals_the_formula_in_plain_loops(n, m, settings):
    method = MetaCompress.create(8, seed=3, d_c=4, **settings).double()
    with torch.no_grad():
        method.w_q += 0.1 * torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
        method.b.copy_(torch.tensor([1.0, -0.5, 2.0, 0.3]))
    x = tokens(n)
    expected = torch.tensor(by_hand(method, x.tolist(), m), dtype=torch.float64)
    p = method(x, m)
    torch.testing.assert_close(p, expected, rtol=1e-5, atol=1e-6)  # E_pos is made in float32
    reduction = method.reduce(VisualTokens(x, Layout.of(len(x)), x))
    assert reduction.m == method.count(n)


@pytest.mark.parametrize("n", [7, 36, 144])
@pytest.mark.parametrize("m", [2, 3, 6])
def test_pooling_windows_start_where_the_docstring_says(n, m):
    # values that count up by one have window means that tell the starts
    method = MetaCompress(1, d_c=1, normalize="none", positions="none", temperature=None).double()
    with torch.no_grad():
        method.w_q.fill_(1e-3), method.w_k.fill_(1e-3)
    x = torch.arange(n, dtype=torch.float64)[:, None]
    p = method(x, m)
    starts = [math.floor(i * (n - 3) / (m - 1)) for i in range(m)]
    slopes = (p[:, 1] / p[:, 0]).log()  # (start + 1) * 1e-6
    assert ((slopes * 1e6).round() - 1).long().tolist() == starts
    assert (starts[0], starts[-1]) == (0, n - 3)


@pytest.mark.parametrize("settings", [{}, {"normalize": "none"}, {"positions": "none"}], ids=str)
def test_tokens_are_looked_at_in_blocks_without_a_difference(settings, monkeypatch):
    method, x = MetaCompress.create(8, d_c=4, **settings).double(), tokens(50)
    whole = method(x, 6)
    monkeypatch.setattr(normalization, "AT_ONCE", 8 * 7)
    torch.testing.assert_close(method(x, 6), whole, rtol=1e-5, atol=1e-6)  # E_pos is made in float32


def test_half_precision_tokens_are_worked_on_in_the_weights_precision():
    method, x = MetaCompress.create(64), tokens(40, 64).bfloat16() + 20
    torch.testing.assert_close(method(x, 6), method(x.float(), 6))


def test_gradients_reach_the_tokens_too():
    method, x = MetaCompress.create(8, d_c=4).double(), tokens(12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: method(x, 3), x)


def test_normalisation_makes_p_blind_to_a_common_offset_and_scale():
    method, x = MetaCompress.create(8, d_c=4).double(), tokens(20)
    torch.testing.assert_close(method(x, 5), method(7 * x + 100, 5), rtol=1e-6, atol=1e-9)
    printed = MetaCompress.create(8, d_c=4, normalize="none").double()
    assert (printed(x, 5) - printed(7 * x + 100, 5)).abs().max() > 1e-3


def test_tokens_that_are_all_alike_give_finite_weights():
    p = MetaCompress.create(8, d_c=4)(torch.ones(10, 8), 3)
    assert p.isfinite().all()


def test_the_values_are_the_raw_tokens():
    method, x = MetaCompress.create(8, keep=4, d_c=4).double(), tokens(20)
    torch.testing.assert_close(method.reduce(VisualTokens(x, Layout.of(len(x)), x)).apply(x), method(x, 4) @ x)


def test_rows_sum_to_one_and_are_in_the_weights_dtype_for_half_precision_tokens():
    p = MetaCompress.create(8, d_c=4)(tokens(20).bfloat16(), 5)
    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum(-1), torch.ones(5))


def test_the_parameters_are_those_of_the_paper_and_the_temperature():
    assert sum(p.numel() for p in MetaCompress(8, d_c=4).parameters()) == 2 * 8 * 4 + 4 + 1
    assert sum(p.numel() for p in MetaCompress(8, d_c=4, temperature=None).parameters()) == 2 * 8 * 4 + 4
    method = MetaCompress(64, d_c=32)
    assert torch.equal(method.w_q, method.w_k)
    assert method.w_q.std().item() == pytest.approx(64**-0.5, rel=0.1)
    assert torch.equal(method.b, torch.ones(32))


def test_one_set_of_weights_serves_any_size_and_share():
    method = MetaCompress.create(8, d_c=4)
    for n, keep in [(1, 0.1), (3, 2), (36, 0.25), (576, 0.1), (2880, 64)]:
        method.keep = keep
        x = tokens(n)
        assert method.reduce(VisualTokens(x, Layout.of(len(x)), x)).apply(x).shape == (method.count(n), 8)


def test_the_seed_decides_the_weights_and_the_global_random_state_stays():
    state = torch.random.get_rng_state()
    one, same, other = (MetaCompress.create(8, seed) for seed in (1, 1, 2))
    assert torch.equal(one.w_q, same.w_q)
    assert not torch.equal(one.w_q, other.w_q)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_every_parameter_gets_a_gradient():
    method = MetaCompress.create(8, keep=4, d_c=4)
    x = tokens(20).float()
    method.reduce(VisualTokens(x, Layout.of(len(x)), x)).apply(x).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in method.parameters())


def test_flops_count_projections_scores_and_mixing():
    # n = 10, m = 2, width 8, d_c = 4: keys and queries 10*8*8 multiply-adds, as these are pooled behind the projection;
    # scores 2*10*4, mixing 2*10*8
    assert MetaCompress(8, d_c=4).flops(10, 2, 8) == 2 * (640 + 80 + 160)


class TestSaving:
    def test_a_folder_holds_plain_weights_and_settings(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pickle, "dumps", None)
        method = MetaCompress.create(8, keep=0.2, d_c=4, kernel=2, normalize="none", temperature=None)
        method.save_pretrained(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json", "README.md"}
        config = json.loads((tmp_path / "config.json").read_text())
        assert config["width"] == 8
        assert {name: config[name] for name in method.settings()} == method.settings()

    @pytest.mark.parametrize("temperature", [None, 2.0])
    def test_what_is_loaded_is_what_was_saved(self, tmp_path, temperature):
        method = MetaCompress.create(8, seed=4, keep=0.2, d_c=4, kernel=2, positions="none", temperature=temperature)
        method.save_pretrained(tmp_path)
        loaded = MetaCompress.from_pretrained(str(tmp_path))
        assert (loaded.keep, loaded.settings()) == (0.2, method.settings())
        x = tokens(20)
        assert torch.equal(loaded(x, 5), method(x, 5))

    @pytest.mark.parametrize("keep", [0.5, 7])
    def test_keep_is_replaced_on_loading(self, tmp_path, keep):
        MetaCompress.create(8, keep=0.2, d_c=4).save_pretrained(tmp_path)
        loaded = MetaCompress.from_pretrained(str(tmp_path), keep=keep)
        assert loaded.keep == keep
        assert type(loaded.keep) is type(keep)

    def test_a_count_is_still_a_count_after_loading(self, tmp_path):
        MetaCompress.create(8, keep=7, d_c=4).save_pretrained(tmp_path)
        assert MetaCompress.from_pretrained(str(tmp_path)).count(100) == 7

    def test_pushing_uploads_the_same_files(self, tmp_path, monkeypatch):
        uploaded = set()

        def upload_folder(self, *, folder_path, **_):
            uploaded.update(path.name for path in folder_path.iterdir())

        created = SimpleNamespace(repo_id="me/compressor")
        monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi.create_repo", lambda *_, **__: created)
        monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi.upload_folder", upload_folder)
        MetaCompress.create(8, d_c=4).push_to_hub("me/compressor")
        assert {"model.safetensors", "config.json"} <= uploaded


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize": "batch"}, "normalize is one of image, none, got 'batch'"),
        ({"positions": "rotary"}, "positions is one of sinusoidal, none"),
        ({"d_c": 0}, "at least 1"),
        ({"kernel": 0}, "at least 1"),
        ({"temperature": 0.0}, "temperature is above 0"),
        ({"keep": 1.5}, "keep as a share"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MetaCompress(8, **settings)


class TestDamagedFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        MetaCompress.create(8, d_c=4).save_pretrained(tmp_path)
        return tmp_path

    def test_missing_weights_are_an_error_and_not_random_ones(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
            MetaCompress.from_pretrained(str(folder))

    def test_a_missing_config_is_an_error(self, folder):
        (folder / "config.json").unlink()
        with pytest.raises(ValueError, match=r"config\.json is missing"):
            MetaCompress.from_pretrained(str(folder))

    def test_weights_that_do_not_fit_the_config_are_an_error(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "d_c": 5}))
        with pytest.raises(ValueError, match="do not fit its config"):
            MetaCompress.from_pretrained(str(folder))

    def test_a_weight_too_few_is_an_error(self, folder):
        weights = load_file(folder / "model.safetensors")
        del weights["b"]
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(ValueError, match='"b"'):
            MetaCompress.from_pretrained(str(folder))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_it_compiles_as_one_graph():
    torch.manual_seed(0)
    method, x = MetaCompress(8, keep=0.25, d_c=4), tokens(20).float()
    expected = method(x, 5)
    method.compile(backend="eager", fullgraph=True)
    assert torch.allclose(method(x, 5), expected, atol=1e-6)
