from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from pinhole.compression import compress
from pinhole.layout import Layout, View
from pinhole.methods.visionzip import VisionZip
from pinhole.visual import VisualTokens
from reference import Context


def image(attention: torch.Tensor, keys: torch.Tensor, layout: Layout | None = None, **more: torch.Tensor):
    n = len(attention)
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    cues = {"cls_attention": attention, "encoder_keys": keys, **more}
    return VisualTokens(x, layout or Layout.of(View(1, n)), torch.zeros(1), cues)


def random(n: int, seed: int) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(n, 2, 3, generator=generator, dtype=torch.float64)
    return image(torch.rand(n, generator=generator), keys)


def by_hand(attention: list[float], keys: list[list[float]], m: int, c: int) -> list[list[float]]:
    """P as lists: topk, every so many-th, nearest, mean."""
    n = len(attention)
    dominant = sorted(sorted(range(n), key=lambda i: -attention[i])[: m - c])
    rows = [[float(i == j) for j in range(n)] for i in dominant]
    rest = [i for i in range(n) if i not in dominant]
    targets = rest[:: max(1, len(rest) // c)][:c] if c else []
    joined: dict[int, list[int]] = {target: [] for target in targets}
    for i in rest:
        if targets and i not in targets:
            length = sum(v * v for v in keys[i]) ** 0.5
            cosines = []
            for target in targets:
                dot = sum(v * w for v, w in zip(keys[i], keys[target], strict=True))
                cosines.append(dot / length / sum(v * v for v in keys[target]) ** 0.5)
            joined[targets[cosines.index(max(cosines))]].append(i)
    for target in targets:
        rows.append([float(j == target) + (j in joined[target]) / max(1, len(joined[target])) for j in range(n)])
    return rows


def test_dominant_tokens_come_in_image_order_and_contextual_ones_last():
    # m = 4, c = 2: tokens 5 and 1 are dominant. Of the rest 0, 2, 3, 4, 6 every 5 // 2 = 2nd is a target: 0 and 3.
    # 2 and 6 point as 0 does, 4 as 3.
    attention = torch.tensor([0.1, 0.3, 0.1, 0.1, 0.05, 0.4, 0.0])
    x, y = [1.0, 0.1], [0.1, 1.0]
    keys = torch.tensor([x, x, x, y, y, y, x])[:, None]
    weights = VisionZip(keep=4, contextual=0.5).reduce(image(attention, keys)).matrix()
    assert weights.tolist() == [
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [1, 0, 0.5, 0, 0, 0, 0.5],
        [0, 0, 0, 1, 1, 0, 0],
    ]


@pytest.mark.parametrize(("m", "contextual"), [(64, 10), (128, 20), (192, 30), (1, 0), (3, 0), (4, 1), (640, 100)])
def test_m_is_split_as_in_the_paper(m, contextual):
    weights = VisionZip(keep=m).reduce(random(2880, seed=0)).matrix()
    assert weights.shape == (m, 2880)
    assert int((weights.sum(1) > 1.5).sum()) == contextual
    assert (weights[: m - contextual].sum(1) == 1).all()


@given(
    n=st.integers(1, 30), seed=st.integers(0, 10**6), share=st.sampled_from([0, 10 / 64, 0.5, 0.9, 1]), data=st.data()
)
def test_it_equals_lists_and_loops(n, seed, share, data):
    m, tokens = data.draw(st.integers(1, n)), random(n, seed)
    weights = VisionZip(keep=m, contextual=share).reduce(tokens).matrix()
    c = math.floor(m * Fraction(repr(float(share))) + Fraction(1, 2))
    keys = tokens.cues["encoder_keys"].mean(1).tolist()
    expected = torch.tensor(by_hand(tokens.cues["cls_attention"].tolist(), keys, m, c), dtype=torch.float64)
    torch.testing.assert_close(weights.double(), expected)
    sums = weights.sum(1)
    assert (((sums - 1).abs() < 1e-6) | ((sums - 2).abs() < 1e-6)).all(), "1 where nothing joined, else 2"
    if c:
        torch.testing.assert_close(weights.sum(1)[: m - c], torch.ones(m - c, dtype=weights.dtype))
        assert (weights > 0).sum() == n, "every token goes somewhere, once"


def test_without_contextual_tokens_it_is_a_selection():
    tokens = random(20, seed=1)
    reduction = VisionZip(keep=6, contextual=0).reduce(tokens)
    assert reduction.weights is None
    assert reduction.indices.tolist() == sorted(tokens.cues["cls_attention"].topk(6).indices.tolist())


def test_equal_tokens_are_taken_from_the_start():
    tokens = image(torch.full((9,), 0.1), torch.ones(9, 2, 3))
    weights = VisionZip(keep=4, contextual=0.5).reduce(tokens).matrix()
    assert weights[:2].argmax(1).tolist() == [0, 1]
    fifth = pytest.approx(0.2)
    assert weights[2].tolist() == [0, 0, 1, fifth, fifth, 0, fifth, fifth, fifth], "all are nearest to the first target"
    assert weights[3].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_separators_go_and_merge_into_nothing():
    layout = Layout.of(View(1, 5), 1, View(1, 5), 1)
    generator = torch.Generator().manual_seed(0)
    attention, keys = torch.rand(12, generator=generator), torch.randn(12, 2, 3, generator=generator)
    attention[[5, 11]], keys[[5, 11]] = 0, 0
    tokens = image(attention, keys, layout)
    weights = VisionZip(keep=5, contextual=0.4).reduce(tokens).matrix()
    assert weights.shape == (5, 12)
    assert (weights[:, [5, 11]] == 0).all()
    assert VisionZip(keep=11).reduce(tokens).matrix().shape == (11, 12), "more than there are patches"


def test_nothing_waits_for_the_device():
    meta = torch.empty(20, 2, 3, device="meta")  # looking at a value of it is an error
    tokens = VisualTokens(meta[:, 0], Layout.of(View(1, 20)), torch.zeros(1), {})
    tokens.cues.update(cls_attention=meta[:, 0, 0], encoder_keys=meta)
    assert VisionZip(keep=7).reduce(tokens).matrix().shape == (7, 20)


def test_attention_received_serves_where_there_is_no_class_token():
    method = VisionZip(keep=3, contextual=0, attention="received")
    assert method.needs == {"received_attention", "encoder_keys"}
    assert VisionZip.needs == VisionZip().needs == {"cls_attention", "encoder_keys"}
    received = torch.tensor([0.0, 3, 1, 2, 0])
    tokens = image(torch.arange(5.0), torch.randn(5, 1, 2), received_attention=received)
    assert method.reduce(tokens).indices.tolist() == [1, 2, 3]


@torch.no_grad()
def test_a_model_without_a_class_token_is_refused_until_attention_received_is_asked_for():
    model = zoo.model_of("qwen2_5_vl")
    prompts = zoo.rows("qwen2_5_vl", model, batch=2)
    with pytest.raises(ValueError, match="needs cls_attention, which models of type 'qwen2_5_vl' do not give"):
        compress(model, VisionZip())
    method = VisionZip(keep=0.5, attention="received")
    with compress(model, method):
        logits = model(**zoo.together(prompts)).logits
    for got, prompt in zip(logits, prompts, strict=True):
        context = Context(model, "original").read(prompt, method)
        torch.testing.assert_close(got[-len(context.tokens) :], context.logits(), rtol=0, atol=1e-4)


def test_flops_count_similarities_and_mixing():
    # 10 tokens to 4, of which 2 contextual: 8 others against 2 targets, and P X
    assert VisionZip(keep=4, contextual=0.5).flops(10, 4, 8) == 2 * 8 * (16 + 10)
    assert VisionZip(keep=4, contextual=0).flops(10, 4, 8) == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"attention": "mean"}, "cls or received, got 'mean'"), ({"contextual": 1.5}, r"share in \[0, 1\], got 1.5")],
)
def test_other_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        VisionZip(**setting)
