from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from eager import eager
from pinhole import Session, VisualTokens, compress
from pinhole.families import family_of
from pinhole.layout import Layout
from pinhole.methods.relevance import Relevance


def attention(n: int, seed: int) -> torch.Tensor:
    """A softmax, most of it on other tokens than the image's."""
    logits = 2 * torch.randn(2 * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.softmax(0)[:n]


def network(seed: int = 0, **given) -> Relevance:
    """With biases as they are after training: not zero."""
    method = Relevance.create(32, seed, **given).double()
    generator = torch.Generator().manual_seed(100 + seed)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return method


def kept(method: Relevance, a: torch.Tensor) -> list[int]:
    image = VisualTokens(
        torch.zeros(len(a), 32), Layout.of(len(a)), torch.zeros(1), {"first_layer_attention": a[:, None]}
    )
    return method.reduce(image).indices.tolist()


def by_loops(method: Relevance, a: list[float]) -> list[float]:
    """Log-probabilities, one number at a time."""
    n, reach = len(a), method.kernel // 2
    states = [[math.log(max(1e-3, n * value / sum(a)))] for value in a]
    for depthwise, pointwise in zip(method.depthwise, method.pointwise, strict=True):
        near, across = depthwise.weight[:, 0].tolist(), pointwise.weight[:, :, 0].tolist()
        seen = [
            [
                bias + sum(w[reach + j] * states[i + j][c] for j in range(-reach, reach + 1) if 0 <= i + j < n)
                for c, (w, bias) in enumerate(zip(near, depthwise.bias.tolist(), strict=True))
            ]
            for i in range(n)
        ]
        states = [
            [max(0.0, b + sum(w * s for w, s in zip(row, token, strict=True)))
             for row, b in zip(across, pointwise.bias.tolist(), strict=True)]
            for token in seen
        ]  # fmt: skip
    head = method.head.weight[0, :, 0].tolist()
    logits = [sum(w * s for w, s in zip(head, token, strict=True)) for token in states]
    total = math.log(sum(math.exp(logit) for logit in logits))
    return [logit - total for logit in logits]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 9), st.integers(1, 2), st.sampled_from([1, 3, 5]), st.integers(0, 1000), st.data())
def test_it_equals_the_network_in_plain_loops_and_keeps_the_most_likely(n, layers, kernel, seed, data):
    method, a = network(seed, layers=layers, kernel=kernel), attention(n, seed)
    method.keep = data.draw(st.integers(1, n))
    expected = by_loops(method, a.tolist())
    torch.testing.assert_close(method(a), torch.tensor(expected).double())
    assert kept(method, a) == sorted(sorted(range(n), key=lambda i: -expected[i])[: method.keep])


def test_the_papers_five_layers_equal_the_loops():
    method, a = network(), attention(4, 7)
    torch.testing.assert_close(method(a), torch.tensor(by_loops(method, a.tolist())).double())


def test_a_network_by_hand():
    # one layer, kernel 3, all channels alike: the depthwise convolution is the difference of the neighbours, the rest
    # adds up 32 * 1/32 ReLUs. Attention 1 : e : e^2 gives logs x, x + 1, x + 2, padded with 0 at both ends;
    # x is -1.31, so that the first difference, x + 1 - 0, is below 0
    method = Relevance.create(32, layers=1).double()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        method.depthwise[0].weight.copy_(torch.tensor([[[-1.0, 0.0, 1.0]]]))
        method.pointwise[0].weight.fill_(1.0)
        method.head.weight.fill_(1 / 32)
    x = math.log(3 / (1 + math.e + math.e**2))
    expected = torch.tensor([0.0, 2.0, -(x + 1)]).double().log_softmax(0)
    torch.testing.assert_close(method(torch.tensor([0.01, 0.01 * math.e, 0.01 * math.e**2]).double()), expected)


@pytest.mark.parametrize(
    ("layers", "channels"),
    [(3, [32, 64, 128]), (5, [32, 64, 128, 256, 512]), (7, [32, 64, 128, 256, 512, 512, 512])],
)
def test_channels_are_the_papers(layers, channels):
    method = Relevance(32, layers=layers)
    assert [p.out_channels for p in method.pointwise] == channels
    assert [d.groups for d in method.depthwise] == [1, *channels[:-1]]
    before = [1, *channels[:-1]]
    # kernel 3 and a bias for each channel in, a matrix and biases, the head
    expected = sum(4 * c + c * d + d for c, d in zip(before, channels, strict=True)) + channels[-1]
    assert sum(parameter.numel() for parameter in method.parameters()) == expected


def test_a_window_of_a_long_sequence_is_read_as_it_is_alone():
    def even(n: int, seed: int) -> torch.Tensor:
        a = attention(n, seed)
        return a / a.mean()

    method, window = network(layers=3), even(20, 1)
    alone, within = method(window), method(torch.cat([even(3000, 2), window, even(2000, 3)]))
    inside = slice(3, 17)  # three layers look three tokens far
    alone, within = alone[inside], within[3000:3020][inside]
    torch.testing.assert_close(alone - alone[0], within - within[0])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 1000), st.floats(1e-6, 1e3))
def test_only_shares_of_the_images_attention_count(n, seed, factor):
    method, a = network(seed % 5), attention(n, seed)
    torch.testing.assert_close(method(a * factor), method(a))
    assert method(a).exp().sum().item() == pytest.approx(1)


def test_mirrored_kernels_read_a_mirrored_image_alike():
    method, mirrored, a = network(1, kernel=5), network(1, kernel=5), attention(30, 4)
    with torch.no_grad():
        for depthwise in mirrored.depthwise:
            depthwise.weight.copy_(depthwise.weight.flip(-1))
    torch.testing.assert_close(mirrored(a.flip(0)), method(a).flip(0))
    assert not torch.allclose(method(a.flip(0)), method(a).flip(0))


def test_with_a_kernel_of_one_token_the_order_of_the_tokens_does_not_count():
    method, a = network(2, kernel=1), attention(30, 5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(method(a[order]), method(a)[order])


def test_rows_of_a_batch_are_read_one_by_one():
    method = network(3)
    batch = torch.stack([attention(17, seed) for seed in range(4)]).view(2, 2, 17)
    for row in range(4):
        torch.testing.assert_close(method(batch).view(4, 17)[row], method(batch.view(4, 17)[row]))


def test_no_attention_at_all_is_even_attention_and_ties_go_to_the_earlier_tokens():
    method = network(kernel=1, keep=5).float()
    for a in (torch.zeros(43), torch.full((43,), 1e-30), torch.full((43,), 0.02)):
        assert torch.isfinite(method(a)).all()
        assert kept(method, a) == [0, 1, 2, 3, 4]


def test_gradients_reach_every_weight():
    method, a = network(), attention(40, 0)
    method(a)[7].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_the_choice_gives_no_gradients_and_half_precision_is_read_in_the_weights_precision():
    x, a = torch.randn(40, 32, requires_grad=True), attention(40, 0).bfloat16()
    method = Relevance.create(32, keep=5)
    reduction = method.reduce(VisualTokens(x, Layout.of(40), torch.zeros(1), {"first_layer_attention": a[:, None]}))
    assert reduction.weights is None
    assert reduction.apply(x).requires_grad
    assert method(a).dtype == torch.float32


@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize(("family", "modality"), [("llava", "image"), ("gemma3", "image"), ("qwen2_vl", "video")])
def test_in_a_model_it_reads_the_mean_of_eager_attention_and_keeps_what_that_says(family, modality, layer):
    model, method = zoo.model_of(family), network(4, keep=0.25, input_layer=layer)
    read = []
    method.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    for seed, count in ((0, 1), (1, 2)):
        inputs = zoo.row(family, model, modality, seed, count)
        with torch.no_grad(), compress(model, method) as compression:
            model(**inputs)
        maps = eager(model)(**inputs, output_attentions=True).attentions[layer][0].mean(0)
        visuals, _ = family_of(model).encode(inputs)
        behind = torch.arange(maps.shape[1]) > max(int(visual.columns[-1]) for visual in visuals)
        for visual, reduction, seen in zip(visuals, compression.reductions, list(read), strict=True):
            expected = maps[behind][:, visual.columns].mean(0)
            torch.testing.assert_close(seen.double(), expected, rtol=1e-5, atol=1e-7)
            order = method(expected).argsort(descending=True)[: method.count(visual.tokens.n)]
            assert reduction.indices.tolist() == sorted(order.tolist())
        read.clear()


def test_another_question_keeps_other_tokens():
    model, method = zoo.model_of("llava"), network(4, keep=0.25)
    inputs = zoo.row("llava", model)
    other = {**inputs, "input_ids": inputs["input_ids"].clone()}
    other["input_ids"][0, -3:] = torch.tensor([17, 90, 201])
    kept = []
    for prompt in (inputs, other):
        with torch.no_grad(), compress(model, method) as compression:
            model(**prompt)
        kept.append(compression.reductions[0].indices.tolist())
    assert kept[0] != kept[1]


def test_what_is_loaded_is_what_was_saved(tmp_path):
    method = network(keep=5, layers=3, kernel=5).float()
    method.save_pretrained(tmp_path)
    loaded = Relevance.from_pretrained(str(tmp_path))
    assert (loaded.keep, loaded.width) == (5, 32)
    assert loaded.settings() == {"layers": 3, "kernel": 5, "input_layer": 0, "turns": "first"}
    a = attention(20, 0)
    assert torch.equal(loaded(a), method(a))
    assert Relevance.from_pretrained(str(tmp_path), keep=0.5).count(20) == 10


def test_the_seed_decides_the_weights_and_the_global_random_state_stays():
    state = torch.random.get_rng_state()
    one, same, other = (Relevance.create(8, seed) for seed in (1, 1, 2))
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_untrained_logits_neither_vanish_nor_blow_up():
    for layers in (1, 3, 5, 10):
        for seed in range(3):
            assert 0.02 < Relevance.create(8, seed, layers=layers)(attention(500, seed)).std() < 20


def test_flops_are_the_multiply_adds_of_the_network_and_of_the_attention_it_reads():
    # two layers, kernel 3, 10 tokens: 3 * 1 + 1 * 32, 3 * 32 + 32 * 64, the head 64; three matrices of 8 * 8
    assert Relevance(8, layers=2).flops(10, 2, 8) == 2 * 10 * (35 + 96 + 2048 + 64 + 192)
    deeper = Relevance(8, layers=2, input_layer=2).flops(10, 2, 8)
    assert deeper - Relevance(8, layers=2).flops(10, 2, 8) == 2 * 10 * 2 * 12 * 64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layers": 0}, "layers are at least 1"),
        ({"kernel": 4}, "kernel is an odd number of tokens, such as 3; got 4"),
        ({"kernel": 0}, "kernel is an odd number"),
        ({"input_layer": -1}, "input_layer at least 0"),
        ({"turns": "all"}, "turns is first or each, got 'all'"),
        ({"keep": 1.5}, "keep as a share"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Relevance(**{"width": 8, **given})


def test_a_model_of_another_width_is_refused():
    with pytest.raises(ValueError, match="trained for an LLM of width 8"):
        compress(zoo.model_of("llava"), Relevance.create(8))


def test_a_layer_that_the_llm_has_not_is_refused():
    model = zoo.model_of("llava")
    with pytest.raises(ValueError, match="relevance needs attention@4, which models of type 'llava' do not give"):
        compress(model, network(input_layer=4))
    with pytest.raises(ValueError, match="layers 0 to 3, and the attention of layer 4 was asked for"):
        family_of(model).encode(zoo.row("llava", model), {"attention@4"})


@pytest.mark.parametrize(("turns", "times"), [("first", 1), ("each", 2)])
@torch.no_grad()
def test_it_can_decide_anew_at_every_turn(turns, times):
    model, method, read = zoo.model_of("llava"), network(4, keep=0.25, turns=turns), []
    method.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    session = Session(model, method)
    for turn in (zoo.row("llava", model), zoo.words(4, 1)):
        session.ask(turn, max_new_tokens=1, do_sample=False)
    assert len(read) == times
    assert times == 1 or not torch.allclose(read[0], read[1])
