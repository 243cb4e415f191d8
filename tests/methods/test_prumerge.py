from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zoo
from pinhole.budget import LLMShape
from pinhole.compression import compress
from pinhole.decide import decide
from pinhole.evaluation.contender import contenders
from pinhole.families.parts import Visual
from pinhole.layout import Layout, View
from pinhole.methods.prumerge import PruMerge, PruMergePlus
from pinhole.registry import MethodSpec
from pinhole.scope import Scope
from pinhole.view.cells import share_kept
from pinhole.visual import VisualTokens
from reference import Context

both = pytest.mark.parametrize("kind", [PruMerge, PruMergePlus])


def image(attention: torch.Tensor, keys: torch.Tensor, layout: Layout | None = None) -> VisualTokens:
    n = len(attention)
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    cues = {"cls_attention_joint+1": attention, "encoder_keys+1": keys}
    return VisualTokens(x, layout or Layout.of(View(1, n)), torch.zeros(1), cues)


def random(n: int, seed: int) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    attention = (3 * torch.randn(n, generator=generator)).softmax(0)
    return image(attention, torch.randn(n, 2, 3, generator=generator, dtype=torch.float64))


def outliers(attention: list[float], fence: float = 1.5) -> int:
    low, high = np.percentile(np.array(attention, dtype=np.float32), [25, 75])
    return sum(a > high + fence * (high - low) for a in attention)


def merged(attention: list[float], keys: list[list[float]], picked: list[int], k: int, among: str) -> list[list[float]]:
    """P as lists."""

    def cosine(i: int, j: int) -> float:
        norm = (sum(v * v for v in keys[i]) * sum(v * v for v in keys[j])) ** 0.5
        return sum(v * w for v, w in zip(keys[i], keys[j], strict=True)) / norm

    n, rows = len(attention), []
    for i in picked:
        others = [j for j in range(n) if j != i and (among == "all" or j not in picked)]
        near = sorted(others, key=lambda j, i=i: -cosine(i, j))[:k]
        rows.append([1.0 if j == i else attention[j] if j in near else 0.0 for j in range(n)])
    rest = [j for j in range(n) if j not in picked]
    return rows + ([[attention[j] if j in rest else 0.0 for j in range(n)]] if rest else [])


# attention 0.5 and 0.3 stand out; keys: 0, 2 and 4 point alike, so do 1 and 3
ATTENTION = torch.tensor([0.05, 0.5, 0.3, 0.06, 0.04])
KEYS = torch.tensor([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1], [1, 0.3]])[:, None]


def test_what_is_near_is_added_by_its_attention_and_the_rest_is_summed_up():
    weights = PruMerge(keep=3, k=1).reduce(image(ATTENTION, KEYS)).matrix()
    expected = [[0, 1, 0, 0.06, 0], [0.05, 0, 1, 0, 0], [0.05, 0, 0, 0.06, 0.04]]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_other_kept_tokens_are_added_too_unless_only_dropped_ones_may():
    # 3 is nearest to 1 (cosine 0.995), then 4 (0.29), 2 (0.10), 0 (0)
    tokens = image(ATTENTION, KEYS)
    everyone = PruMerge(keep=3, k=3).reduce(tokens).matrix()
    torch.testing.assert_close(everyone[0], torch.tensor([0, 1, 0.3, 0.06, 0.04]))
    dropped = PruMerge(keep=3, k=3, among="dropped").reduce(tokens).matrix()
    torch.testing.assert_close(dropped[0], torch.tensor([0.05, 1, 0, 0.06, 0.04]))


def test_one_token_is_everything_by_its_attention():
    weights = PruMerge(keep=1).reduce(image(ATTENTION, KEYS)).matrix()
    assert torch.equal(weights, ATTENTION[None])


def test_its_own_count_is_of_outliers_and_one():
    # quartiles of the first are 1/16 and 1/16: everything above is an outlier; of the second 1/4 and 3/4, fence 1.5
    peaks = torch.tensor([1, 1, 1, 1, 8, 1, 2, 1, 1.0]) / 16
    method = PruMerge(k=2)
    assert method.keep is None
    assert method.count(9) is None
    keys = torch.randn(9, 1, 4, generator=torch.Generator().manual_seed(0))
    reduction = method.reduce(image(peaks, keys))
    assert reduction.anchors.tolist()[:2] == [4, 6], "most attended first"
    assert reduction.m == 3
    assert torch.equal(reduction.matrix()[2] > 0, torch.tensor([1, 1, 1, 1, 0, 1, 0, 1, 1]).bool())
    even = torch.tensor([0, 0.25, 0.5, 0.75, 1.0])
    assert PruMerge().reduce(image(even, keys[:5])).m == 1, "no outlier: one token sums up all"
    assert PruMerge(fence=0.4).reduce(image(even, keys[:5])).m == 2, "0.75 + 0.4 / 2 is below 1"
    assert PruMergePlus().reduce(image(even, keys[:5])).m == 1


@given(
    n=st.integers(1, 40),
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 4, 32]),
    among=st.sampled_from(["all", "dropped"]),
    own=st.booleans(),
    data=st.data(),
)
def test_sums_equal_lists_and_loops(n, seed, k, among, own, data):
    m, tokens = data.draw(st.integers(1, n)), random(n, seed)
    attention = tokens.cues["cls_attention_joint+1"].tolist()
    keys = tokens.cues["encoder_keys+1"].flatten(1).tolist()
    picked = sorted(range(n), key=lambda i: -attention[i])[: outliers(attention) if own else m - 1]
    weights = PruMerge(keep=None if own else m, k=k, among=among).reduce(tokens).matrix()
    assert weights.shape == (len(picked) + 1, n)
    torch.testing.assert_close(weights, torch.tensor(merged(attention, keys, picked, k, among)))


@given(n=st.integers(2, 60), seed=st.integers(0, 10**6), among=st.sampled_from(["all", "dropped"]))
def test_spread_tokens_follow_the_outliers_at_equal_distances(n, seed, among):
    tokens = random(n, seed)
    attention = tokens.cues["cls_attention_joint+1"].tolist()
    picked = sorted(range(n), key=lambda i: -attention[i])[: outliers(attention)]
    if picked:
        step = int(int(1 / (len(picked) / n)) / 3)
        picked += [i for i in range(0, n - 1, step) if i not in picked]
    keys = tokens.cues["encoder_keys+1"].flatten(1).tolist()
    weights = PruMergePlus(among=among).reduce(tokens).matrix()
    torch.testing.assert_close(weights, torch.tensor(merged(attention, keys, picked, 32, among)))


def test_where_everything_is_picked_nothing_is_summed_up():
    # 2 of 8 are outliers, the last among them: every first token is a spread one, the last is an outlier
    attention = torch.tensor([0, 0, 0, 0, 0, 0, 0.5, 0.5])
    reduction = PruMergePlus(k=1).reduce(image(attention, torch.eye(8)[:, None]))
    assert reduction.m == 8
    assert reduction.anchors.tolist() == [6, 7, 0, 1, 2, 3, 4, 5]


def test_a_given_count_is_split_between_attention_and_the_middles_of_equal_stretches():
    attention = torch.tensor([9, 1, 2, 3, 8, 4, 5, 6, 7, 0.0]) / 45
    tokens = image(attention, torch.eye(10)[:, None])
    # 8 picks, a quarter by attention: 0, 4; of the rest 1, 2, 3, 5, 6, 7, 8, 9, six stretches, the middle of each
    assert PruMergePlus(keep=9).reduce(tokens).anchors.tolist()[:8] == [0, 4, 1, 3, 5, 6, 8, 9]
    assert PruMergePlus(keep=4, spatial=0).reduce(tokens).anchors.tolist()[:3] == [0, 4, 8]
    assert PruMergePlus(keep=3, spatial=1).reduce(tokens).anchors.tolist()[:2] == [2, 7]


@both
@given(n=st.integers(1, 40), seed=st.integers(0, 10**6), data=st.data())
def test_a_given_count_is_met_by_distinct_tokens_and_one_sum(kind, n, seed, data):
    m = data.draw(st.integers(1, n))
    reduction = kind(keep=m).reduce(random(n, seed))
    assert kind(keep=m).count(n) == reduction.m == m
    own = reduction.matrix()[:-1]
    assert len(set(own.argmax(1).tolist())) == m - 1
    assert (own.amax(1) == 1).all()
    dropped = reduction.matrix()[-1] > 0
    assert int(dropped.sum()) == n - m + 1


@given(n=st.integers(2, 30), seed=st.integers(0, 10**6), own=st.booleans())
def test_where_a_token_stands_does_not_matter_to_prumerge(n, seed, own):
    tokens, method = random(n, seed), PruMerge(keep=None if own else n // 2, k=4)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = method.reduce(tokens.take(order)).matrix()
    torch.testing.assert_close(moved, method.reduce(tokens).matrix()[:, order])


@both
@pytest.mark.parametrize("m", [1, 2, 7, 12])
def test_equal_tokens_still_become_exactly_m(kind, m):
    tokens = image(torch.full((13,), 1 / 13), torch.ones(13, 2, 3))
    weights = kind(keep=m).reduce(tokens).matrix()
    assert weights.shape == (m, 13)
    assert kind().reduce(tokens).m == 1, "none stands out"


@both
def test_separators_go(kind):
    layout = Layout.of(View(1, 6), 1, View(1, 6), 1)
    tokens = random(14, seed=3)
    for cue in tokens.cues.values():
        cue[[6, 13]] = 0
    tokens = VisualTokens(tokens.x, layout, tokens.pixels, tokens.cues)
    for keep in (None, 1, 5, 12):
        weights = kind(keep=keep).reduce(tokens).matrix()
        assert (weights[:, [6, 13]] == 0).all()
        assert keep in (None, len(weights))
    assert len(kind(keep=13).reduce(tokens).matrix()) == 13, "more than there are patches"


@both
def test_each_frame_has_a_count_of_its_own(kind):
    layout = Layout.of(*(View(3, 4, frame=frame) for frame in range(2)))
    attention = torch.full((24,), 0.01) + torch.arange(24) * 1e-5
    attention[[2, 15, 20]] = 0.2
    tokens = image(attention, torch.randn(24, 1, 6, generator=torch.Generator().manual_seed(0)), layout)
    visual = Visual(tokens, "video", 0, torch.arange(24))
    reduction = decide(kind(), visual, Scope(video="frame"))
    picks = reduction.matrix()
    assert (picks[:, :12] != 0).any(1).long().diff().clamp_min(0).sum() == 0, "the first frame's rows come first"
    if kind is PruMerge:
        assert reduction.m == (1 + 1) + (2 + 1)
        assert sorted(reduction.anchors[[0, 2, 3]].tolist()) == [2, 15, 20]


@torch.no_grad()
@both
def test_images_of_a_batch_keep_as_many_as_their_content_asks_for(kind):
    model = zoo.model_of("llava")
    prompts = zoo.rows("llava", model, batch=3)
    method = kind()
    with compress(model, method) as compression:
        logits = model(**zoo.together(prompts)).logits
    contexts = [Context(model).read(prompt, method) for prompt in prompts]
    sizes = [reduction.m for reduction in compression.reductions]
    assert sizes == [reduction.m for context in contexts for reduction in context.reductions]
    assert len(set(sizes)) > 1, "not all alike"
    assert max(sizes) < compression.reductions[0].n
    for got, context in zip(logits, contexts, strict=True):
        torch.testing.assert_close(got[-len(context.tokens) :], context.logits(), rtol=0, atol=1e-4)


@both
def test_nothing_waits_for_the_device_where_the_count_is_given(kind):
    meta = torch.empty(20, 2, 3, device="meta")  # looking at a value of it is an error
    tokens = VisualTokens(meta[:, 0], Layout.of(View(1, 20)), torch.zeros(1), {})
    tokens.cues.update({"cls_attention_joint+1": meta[:, 0, 0], "encoder_keys+1": meta})
    assert kind(keep=7).reduce(tokens).matrix().shape == (7, 20)


def test_its_own_count_is_written_none_and_compared_by_what_it_kept():
    own, given = contenders(["prumerge:keep=None", "prumerge"], [0.25], LLMShape(2, 8, 1, 1, 8, 8, 8, 4))
    assert (own.keep, given.keep) == (None, 0.25)
    assert own.key != given.key
    assert MethodSpec.parse("prumerge+").build(8).keep is None
    assert share_kept({"keep": None, "kept_tokens": 14.4, "visual_tokens": 576}) == pytest.approx(0.025)
    with pytest.raises(TypeError, match="keep is a share"):
        MethodSpec.parse("sample:keep=None").build(8)


def test_flops_count_similarities_and_mixing():
    # 3 picked tokens are compared with 10, and are themselves and 2 others each; the last one is the other 7
    assert PruMerge(k=2).flops(10, 4, 8) == 2 * 8 * (30 + 3 + 6 + 7)
    assert PruMerge().flops(10, 4, 8) == 2 * 8 * (30 + 3 + 27 + 7), "there are no 32 others"


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (PruMerge, {"keep": 0}, "at least 1, got 0"),
        (PruMerge, {"k": 0}, "k is at least 1 and fence at least 0, got 0"),
        (PruMerge, {"among": "some"}, "among is all or dropped, .* got 'some'"),
        (PruMergePlus, {"fence": -1}, "fence at least 0, got 32 and -1"),
        (PruMergePlus, {"spatial": 2}, r"share in \[0, 1\], got 2"),
    ],
)
def test_other_settings_are_refused(kind, setting, message):
    with pytest.raises(ValueError, match=message):
        kind(**setting)


@both
def test_the_layers_own_cues(kind):
    after = random(20, 5)
    own = VisualTokens(
        after.x, after.layout, after.pixels, {name.removesuffix("+1"): cue for name, cue in after.cues.items()}
    )
    method = kind(keep=6, layer="own")
    assert method.needs == own.cues.keys()
    assert torch.equal(method.reduce(own).weights, kind(keep=6).reduce(after).weights)
    with pytest.raises(ValueError, match="layer is after or own; got 'all' and 'next'"):
        kind(layer="next")
