from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layer_tokens import generator, layer_tokens
from pinhole.budget import kept_tokens
from pinhole.methods.sparsevlm import SparseVLM


def shown(n: int, seed: int, text: int = 5, cut: int = 0, before: int | None = None, clusters: int = 4):
    """Tokens around a few centres, and attention."""
    g = generator(seed)
    centres = 3 * torch.randn(clusters, 6, generator=g)
    hidden = centres[torch.randint(clusters, (n,), generator=g)] + torch.randn(n, 6, generator=g)
    return layer_tokens(
        hidden,
        text=torch.zeros(text, 6),
        first=torch.randn(n if before is None else before, 6, generator=g),
        first_text=torch.randn(text, 6, generator=g),
        attention=torch.rand(text, n, generator=g),
        before=before,
        cut=cut,
    )


def raters_by_hand(tokens) -> list[int]:
    words = [i for i, is_behind in enumerate(tokens.behind.tolist()) if is_behind]
    relevance = [0.0] * len(words)
    for token in tokens.first.tolist():
        scores = [sum(a * b for a, b in zip(token, tokens.first_text[i].tolist(), strict=True)) for i in words]
        total = sum(math.exp(score) for score in scores)
        for place, score in enumerate(scores):
            relevance[place] += math.exp(score) / total / len(tokens.first)
    mean = sum(relevance) / len(relevance)
    raters = [word for word, value in zip(words, relevance, strict=True) if value > mean]
    return raters or words


def clusters_by_hand(x: list[list[float]], count: int) -> list[set[int]]:
    """DPC-kNN, token by token; of two as dense (two nearest neighbours often are) the first counts as denser."""
    t = range(len(x))
    far = [[math.dist(x[i], x[j]) / math.sqrt(len(x[0])) for j in t] for i in t]
    density = [math.exp(-sum(d * d for d in sorted(far[i])[:count]) / count) for i in t]
    largest = max(max(row) for row in far)
    dense = [(value, -i) for i, value in enumerate(density)]
    to_denser = [min((far[i][j] for j in t if dense[j] > dense[i]), default=largest) for i in t]
    centres = sorted(t, key=lambda i: -density[i] * to_denser[i])[:count]
    clusters = [{centre} for centre in centres]
    for i in t:
        if i not in centres:
            clusters[min(range(count), key=lambda c: far[centres[c]][i])].add(i)
    return clusters


@given(n=st.integers(4, 64), seed=st.integers(0, 999), recycle=st.booleans())
def test_it_equals_the_plain_loop(n, seed, recycle):
    method, tokens = SparseVLM(recycle=recycle), shown(n, seed)
    score = tokens.attend(torch.tensor(raters_by_hand(tokens)), False).mean(0).tolist()
    ranked = sorted(range(n), key=lambda i: -score[i])
    stay = kept_tokens(n, 300 / 576)
    dropped = ranked[stay:]
    expected = [torch.eye(n)[i] for i in sorted(ranked[:stay])]
    if recycle:
        again = dropped[: int(0.3 * len(dropped)) + 1]
        for cluster in clusters_by_hand(tokens.hidden[again].tolist(), len(again) // 10 + 1):
            members = [again[i] for i in cluster]
            expected.append(torch.stack([torch.eye(n)[i] / len(members) for i in members]).sum(0))
    weights = method.reduce(tokens).matrix()
    order = sorted(range(stay, len(expected)), key=lambda i: expected[i].argmax())
    mine = sorted(range(stay, len(weights)), key=lambda i: weights[i].argmax())
    torch.testing.assert_close(weights[:stay], torch.stack(expected[:stay]))
    torch.testing.assert_close(weights[mine], torch.stack(expected)[order])


@given(
    n=st.integers(1, 400), seed=st.integers(0, 99), retain=st.sampled_from([192, 128, 96, 64]), recycle=st.booleans()
)
def test_counts_are_exact_in_every_stage_and_no_two_tokens_share_an_anchor(n, seed, retain, recycle):
    method, alive = SparseVLM(retain=retain, recycle=recycle), n
    for cut in range(3):
        m = method.count(cut, n)
        assert 1 <= m <= alive
        if m < alive:
            reduction = method.reduce(shown(alive, seed, cut=cut, before=n))
            assert (reduction.n, reduction.m) == (alive, m)
            assert len(reduction.anchors.unique()) == m
            weights = reduction.matrix()
            assert ((weights > 0).sum(0) <= 1).all(), "no token is in two"
            torch.testing.assert_close(weights.sum(1), torch.ones(m))
        alive = m


@pytest.mark.parametrize(
    ("retain", "with_recycled", "without"),
    [
        (192, [309, 204, 113], [300, 200, 110]),
        (128, [312, 117, 39], [303, 110, 36]),
        (96, [249, 55, 27], [238, 48, 26]),
        (64, [82, 32, 18], [66, 30, 17]),
    ],
)
def test_the_counts_of_llava(retain, with_recycled, without):
    method = SparseVLM(retain=retain)
    assert method.cuts(32) == (3, 7, 16)
    assert [method.count(cut, 576) for cut in range(3)] == with_recycled
    assert [SparseVLM(retain=retain, recycle=False).count(cut, 576) for cut in range(3)] == without
    a, b, c = with_recycled
    assert method.budget(576, 576, 32).per_layer == (576,) * 3 + (a,) * 4 + (b,) * 9 + (c,) * 16
    by_what_leaves_a_layer = (2 * 576 + 4 * a + 9 * b + 17 * c) / 32
    assert by_what_leaves_a_layer == pytest.approx(retain, abs=1), "the name is the public code's average"


def test_the_average_that_the_docstring_names():
    assert SparseVLM().budget(576, 576, 32).average == 206.5


@pytest.mark.parametrize(("layers", "cuts"), [(28, (2, 6, 14)), (40, (3, 8, 20)), (4, (1, 2, 3)), (5, (1, 2, 3))])
def test_the_stages_are_at_the_same_shares_of_any_depth(layers, cuts):
    assert SparseVLM().cuts(layers) == cuts


def test_raters_are_the_text_tokens_above_the_mean():
    # relevance of the three words behind the image: 0.5, 0.25, 0.25 for every visual token
    first_text = torch.tensor([[9.0], [math.log(2)], [0.0], [0.0]])
    attention = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.1, 0.3, 0.2], [0.1, 0.9, 0.1, 0.9], [0.1, 0.9, 0.1, 0.9]])
    tokens = layer_tokens(
        torch.zeros(4, 1),
        text=torch.zeros(4, 1),
        behind=[False, True, True, True],
        first=torch.ones(4, 1),
        first_text=first_text,
        attention=attention,
    )
    kept = SparseVLM(retain=(0.5, 0.4, 0.3), recycle=False).reduce(tokens).indices.tolist()
    assert kept == [0, 2], "by the second word alone"


@pytest.mark.parametrize("behind", [[False, True], [False, False]])
def test_one_word_behind_the_image_rates_alone_and_without_one_the_counts_hold(behind):
    attention = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    tokens = layer_tokens(torch.randn(4, 2, generator=generator(0)), behind=behind, attention=attention)
    reduction = SparseVLM(recycle=False).reduce(tokens)
    assert reduction.indices.tolist() == [0, 1]


def test_a_recycled_token_is_the_mean_of_its_cluster():
    # 40 tokens, 21 stay; of the 19 others the six best go into one cluster
    hidden = torch.randn(40, 6, generator=generator(0))
    tokens = layer_tokens(hidden, attention=torch.arange(40.0, 0, -1).expand(2, -1))
    reduction = SparseVLM().reduce(tokens)
    assert reduction.m == SparseVLM().count(0, 40) == 22
    out = reduction.apply(tokens.hidden)
    assert torch.equal(out[:21], tokens.hidden[:21]), "bit for bit"
    torch.testing.assert_close(out[21], tokens.hidden[21:27].mean(0))
    assert reduction.anchors.tolist() == list(range(22))


def test_equal_tokens_are_clustered_too():
    tokens = layer_tokens(torch.ones(576, 4), attention=torch.rand(2, 576, generator=generator(0)))
    reduction = SparseVLM().reduce(tokens)
    assert (reduction.m, len(reduction.anchors.unique())) == (309, 309)


def test_settings_are_json_and_build_it_again():
    method = SparseVLM(layers=(2, 5), retain=(0.5, 0.25), recycle=False)
    told = json.loads(json.dumps(method.settings()))
    assert told == {"positions": "compact", "layers": [2, 5], "retain": [0.5, 0.25], "recycle": False}
    assert {SparseVLM(**told)} == {method}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retain": 100}, r"retain is 192, 128, 96, 64, or shares .* got 100"),
        ({"retain": (0.2, 0.3, 0.1)}, "none is larger than the one before"),
        ({"retain": (0.5, 0.3, 0.0)}, "shares in"),
        ({"retain": (1.5, 0.3, 0.1)}, "shares in"),
        ({"retain": ()}, "shares in"),
        ({"retain": (300, 200, 110)}, "shares in"),
        ({"retain": {1: 0.5}}, "shares in"),
        ({"retain": (0.5, 0.25)}, r"as many layers as shares, got layers None and retain \(0.5, 0.25\)"),
        ({"layers": (3, 7)}, "as many layers as shares"),
        ({"layers": (7, 3, 16)}, "sparsevlm drops tokens in front of layers 7, 3, 16"),
        ({"recycle": 1}, "recycle is true or false, got 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SparseVLM(**settings)
