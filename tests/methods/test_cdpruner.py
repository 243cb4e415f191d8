from __future__ import annotations

import copy
import itertools
import json
import math
from typing import Any

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import tiny_clip
import zoo
from checkpoints import opened, picture
from pinhole import Session, VisualTokens, compress
from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.layout import Layout
from pinhole.methods.cdpruner import CDPruner
from pinhole.registry import MethodSpec
from pinhole.transcript import Transcript

NAMES = {"tower": "openai/clip-vit-large-patch14-336", "tokenizer": "llava-hf/llava-1.5-7b-hf"}


def image(x: torch.Tensor, words: torch.Tensor | None = None, pixels: torch.Tensor | None = None) -> VisualTokens:
    cues = {} if words is None else {"prompt_embeddings": words}
    return VisualTokens(x, Layout.of(len(x)), torch.zeros(1) if pixels is None else pixels, cues)


def kept(x: torch.Tensor, cosine: Any, m: int, **fields: Any) -> list[int]:
    """With the relevance given."""
    method = CDPruner(keep=m, similarity=lambda _: torch.as_tensor(cosine), **fields)
    return method.reduce(image(x)).indices.tolist()


def random(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dot(a: list[float], b: list[float]) -> float:
    return sum(v * w for v, w in zip(a, b, strict=True))


def kernel(x: list[list[float]], cosine: list[float], theta: float | None = None) -> torch.Tensor:
    """Equations 3, 6 and 7 of the paper, one number at a time."""
    r = [(c - min(cosine) + 1e-6) / (max(cosine) - min(cosine)) for c in cosine]
    if theta is not None:
        r = [math.exp(theta / (2 * (1 - theta)) * value) for value in r]
    cell = [[dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for b in x] for a in x]
    return torch.tensor([[r[i] * cell[i][j] * r[j] for j in range(len(x))] for i in range(len(x))]).double()


def volume(whole: torch.Tensor, subset) -> float:
    picked = torch.tensor(sorted(subset))
    return torch.linalg.det(whole[picked][:, picked]).item()


def by_determinants(whole: torch.Tensor, m: int) -> list[int]:
    """Greedy MAP by its definition: every pick makes the determinant as large as it can be."""
    picks: set[int] = set()
    for _ in range(m):
        left = sorted(set(range(len(whole))) - picks)
        picks.add(max(left, key=lambda i: float(f"{volume(whole, picks | {i}):.8g}")))
    return sorted(picks)


X = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]]) * torch.tensor([[1.0], [5.0], [0.1], [2.0]])
COSINE = [0.3, 0.28, 0.2, 0.1]  # relevance 1, 0.9, 0.5, 0


class TestByHand:
    def test_relevance_and_difference_weigh_together(self):
        # first gains 1, 0.81, 0.25, 0 -> 0; then 0.81 (1 - 0.8^2) = 0.2916 against 0.25 (1 - 0) -> 1
        assert kept(X, COSINE, 1) == [0]
        assert kept(X, COSINE, 2) == [0, 1]

    def test_theta_zero_leaves_the_question_out(self):
        # all gain 1 -> 0, the earliest; then 1 - 0.64, 1 - 0, 1 - 0.36 -> 2
        assert kept(X, COSINE, 2, theta=0.0) == [0, 2]
        assert kept(X, [0.1, 0.3, 0.2, 0.28], 2, theta=0.0) == [0, 2]

    def test_theta_makes_relevance_count_exponentially(self):
        # theta = 0.8: exp(2 r)^2 = exp(4 r): e^4, e^3.6, e^2, 1 -> 0; then 36.6 * 0.36 = 13.2 against 7.4 -> 1
        # theta = 0.5: exp(r): e, e^0.9, e^0.5, 1 -> 0; then 2.46 * 0.36 = 0.89 against 1.65 -> 2
        assert kept(X, COSINE, 2, theta=0.8) == [0, 1]
        assert kept(X, COSINE, 2, theta=0.5) == [0, 2]

    def test_invert_takes_minus_the_cosine(self):
        # relevance 0, 0.1, 0.5, 1 -> 3; then 0.01 (1 - 0) against 0.25 (1 - 0.8^2) = 0.09 -> 2
        assert kept(X, COSINE, 2, invert=True) == [2, 3]

    def test_the_question_is_the_mean_of_the_prompts_embeddings(self):
        # mean (0, 2): cosines 0, 0.6, 1, 0.8; relevance the same -> 2; then 0.36 (1 - 0.36) against 0.64 (1 - 0.64)
        # -> 0.2304 each, a tie up to rounding, and the earlier one goes first
        words = torch.tensor([[3.0, 1.0], [-3.0, 3.0]])
        assert CDPruner(keep=1).reduce(image(X, words)).indices.tolist() == [2]
        assert CDPruner(keep=2).reduce(image(X, words)).indices.tolist() == [1, 2]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.integers(0, 1000), st.sampled_from([None, 0.0, 0.5]), st.booleans(), st.data())
def test_picks_equal_greedy_determinants(n, seed, theta, invert, data):
    x, cosine, m = random(n, n + 2, seed), random(1, n, seed + 1)[0], data.draw(st.integers(1, n))
    signed = (-cosine if invert else cosine).tolist()
    expected = by_determinants(kernel(x.tolist(), signed, theta), m)
    assert kept(x, cosine, m, theta=theta, invert=invert) == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 8), st.integers(0, 1000))
def test_picks_are_nested_and_near_the_best_subset(n, seed):
    x, cosine = random(n, n + 1, seed), random(1, n, seed + 1)[0]
    whole, before = kernel(x.tolist(), cosine.tolist(), 0.5), set()
    for m in range(1, n + 1):
        now = set(kept(x, cosine, m, theta=0.5))
        assert before < now
        best = max(volume(whole, subset) for subset in itertools.combinations(range(n), m))
        assert volume(whole, now) * math.factorial(m) ** 2 >= best * (1 - 1e-9)  # Civril and Magdon-Ismail 2009
        before = now


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 1000))
def test_with_the_llms_embeddings_it_equals_the_formula(n, words, seed):
    x, prompt = random(n, 32, seed), random(words, 32, seed + 1) + 0.3
    mean = [sum(column) / words for column in prompt.T.tolist()]
    cosine = [dot(row, mean) / math.sqrt(dot(row, row) * dot(mean, mean)) for row in x.tolist()]
    m = max(1, n // 3)
    got = CDPruner(keep=m).reduce(image(x, prompt)).indices.tolist()
    assert got == by_determinants(kernel(x.tolist(), cosine), m)


def test_duplicates_share_one_place_and_then_the_more_relevant_goes_first():
    x = random(12, 16, 0)
    x[[3, 8]] = x[5].clone()
    cosine = torch.linspace(0.5, 0.9, 12)
    order = [set(kept(x, cosine, m)) for m in range(9, 13)]
    assert order[0] == set(range(1, 12)) - {3, 5}
    assert [sorted(b - a) for a, b in itertools.pairwise(order)] == [[5], [3], [0]], "0 has no relevance at all"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_which_of_equal_tokens_is_kept_does_not_hang_on_rounding(dtype):
    newlines = torch.tensor([9, 19, 40, 41, 42])
    for seed in range(20):
        x, words = random(43, 64, seed), random(5, 64, seed + 100)
        cosine = x @ words.mean(0) / x.norm(dim=-1)
        cosine[newlines] = 1
        x[newlines] = x[cosine.argmin()] + 1e-3 * words.mean(0)  # hardly relevant: rounding weighs most there
        reduction = CDPruner(keep=38).reduce(image(x.to(dtype), words.to(dtype)))
        assert set(reduction.indices.tolist()) & set(newlines.tolist()) == {9}


@pytest.mark.parametrize("m", [1, 5, 6])
def test_tokens_that_are_all_alike_or_all_zero_are_kept_from_the_first_on(m):
    words = torch.ones(2, 3)
    for x in (torch.ones(7, 3), torch.zeros(7, 3)):
        assert CDPruner(keep=m).reduce(image(x, words)).indices.tolist() == list(range(m))


def test_more_picks_than_dimensions_are_different_tokens():
    picks = kept(random(40, 3, 0).float(), random(1, 40, 1)[0], 39)
    assert len(set(picks)) == 39


def test_a_token_of_zeros_comes_last():
    x = random(8, 16, 0)
    x[2] = 0
    assert 2 not in kept(x, torch.linspace(0.1, 0.9, 8), 7, theta=0.5)


def test_half_precision_tokens_are_compared_in_single_precision():
    x, words = random(50, 64, 0).bfloat16(), random(4, 64, 1).bfloat16()
    expected = CDPruner(keep=12).reduce(image(x.double(), words.double()))
    assert torch.equal(CDPruner(keep=12).reduce(image(x, words)).indices, expected.indices)


def test_clips_two_towers_can_be_handed_over():
    """What the paper does on LLaVA-1.5: patches and question in CLIP's joint space."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = hf.CLIPConfig(
        text_config={**sizes, "vocab_size": 30, "bos_token_id": 28, "eos_token_id": 29, "pad_token_id": 0},
        vision_config={**sizes, "image_size": 16, "patch_size": 4},
        projection_dim=8,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = hf.CLIPModel(config).eval()
    question, pixels = torch.tensor([[28, 7, 12, 29]]), random(3, 256, 0).float().view(3, 16, 16)

    def patches() -> torch.Tensor:
        states = clip.vision_model(pixels[None], output_hidden_states=True).hidden_states
        return clip.visual_projection(clip.vision_model.post_layernorm(states[-2][0, 1:]))

    def similarity(tokens: VisualTokens) -> torch.Tensor:
        assert tokens.pixels is pixels
        text = clip.text_projection(clip.text_model(question).pooler_output)
        return torch.cosine_similarity(patches(), text)

    x = random(16, 24, 0)
    with torch.no_grad():
        text = clip.text_projection(clip.text_model(question).pooler_output)[0].tolist()
        cosine = [dot(a, text) / math.sqrt(dot(a, a) * dot(text, text)) for a in patches().tolist()]
    method = CDPruner(keep=5, similarity=similarity, invert=True)
    assert method.needs == frozenset(), "the LLM's embeddings are not asked for"
    got = method.reduce(image(x, pixels=pixels)).indices
    assert got.tolist() == by_determinants(kernel(x.tolist(), [-c for c in cosine]), 5)


def test_clips_text_tower_by_name_equals_clip_and_the_formula(tmp_path):
    """LLaVA-1.5 as a user has it, with the encoder of a CLIP checkpoint, and each prompt with a question of its own."""
    clip, (model, processor) = tiny_clip.write(tmp_path / "clip"), opened("llava")
    model = copy.deepcopy(model)
    model.model.vision_tower.load_state_dict(clip.vision_model.state_dict())
    processor.tokenizer.save_pretrained(tmp_path / "llava")
    method = CDPruner(keep=5, tower=str(tmp_path / "clip"), tokenizer=str(tmp_path / "llava"))
    asked = ["What colour is the circle on the left?", "red box"]
    texts = [Transcript(processor).question(text, 1) for text in asked]
    inputs = encode_turn(model, processor, texts, [picture(0), picture(0)])
    expected = []
    for pixels, text in zip(inputs["pixel_values"], asked, strict=True):
        read = hf.CLIPTokenizer.from_pretrained(tmp_path / "clip")(text, return_tensors="pt")
        with torch.no_grad():
            x = model.get_image_features(pixels[None]).pooler_output[0]
            states = clip.vision_model(pixels[None], output_hidden_states=True).hidden_states[-2][0, 1:]
            patches = clip.visual_projection(clip.vision_model.post_layernorm(states)).tolist()
            b = clip.get_text_features(**read).pooler_output[0].tolist()
        cosine = [dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a in patches]
        expected.append(by_determinants(kernel(x.tolist(), [-c for c in cosine]), 5))
    with compress(model, method) as compression, torch.no_grad():
        model(**inputs)
        assert [reduction.indices.tolist() for reduction in compression.reductions] == expected
    assert expected[0] != expected[1]
    session = Session(model, method)
    session.ask(inputs, max_new_tokens=2, do_sample=False)
    assert [reduction.indices.tolist() for reduction in session.reductions] == expected


@pytest.mark.parametrize(("name", "modality"), [("llava_next", "image"), ("llava_next_video", "video")])
def test_tiles_and_frames_of_a_batch_are_compared_as_each_row_alone(name, modality, tmp_path):
    tiny_clip.write(tmp_path / "clip")
    opened("llava")[1].tokenizer.save_pretrained(tmp_path / "llava")
    method = CDPruner(keep=0.4, tower=str(tmp_path / "clip"), tokenizer=str(tmp_path / "llava"))
    model = zoo.model_of(name)
    rows = zoo.rows(name, model, modality, batch=3)

    def decided(inputs: dict[str, torch.Tensor]) -> list[list[int]]:
        with compress(model, method) as compression, torch.no_grad():
            model(**inputs)
            return [reduction.indices.tolist() for reduction in compression.reductions]

    alone = [indices for row in rows for indices in decided(row)]
    assert decided(zoo.together(rows)) == decided(zoo.together(rows, "right")) == alone
    visuals = [visual.tokens for row in rows for visual in family_of(model).encode(row)[0]]
    for tokens, indices in zip(visuals, alone, strict=True):
        assert len(indices) == method.count(tokens.n)
        assert not tokens.layout.separators[indices].any()


@pytest.mark.parametrize("name", ["vipllava", "gemma3"])
def test_a_tower_is_refused_where_the_encoder_is_not_known(name):
    method = CDPruner(**NAMES)
    with pytest.raises(ValueError, match=f"needs encoder_output, which models of type '{name}' do not give"):
        Session(zoo.model_of(name), method)


def test_what_it_needs_follows_the_settings():
    assert CDPruner.needs == CDPruner().needs == {"prompt_embeddings"}
    assert CDPruner(**NAMES).needs == {"encoder_output", "prompt_ids"}
    assert CDPruner(similarity=dot).needs == frozenset()


def test_a_tower_is_named_on_the_command_line():
    text = "cdpruner:keep=0.25,tower=openai/clip-vit-large-patch14-336,tokenizer=llava-hf/llava-1.5-7b-hf"
    method = MethodSpec.parse(text).build(32)
    assert method == CDPruner(keep=0.25, **NAMES)
    folders = MethodSpec.parse("cdpruner:tower=/models/clip-336,tokenizer=./llava").build(32)
    assert (folders.tower, folders.tokenizer) == ("/models/clip-336", "./llava")


def test_no_pick_waits_for_the_device():
    class Waits(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    def waits(m: int) -> int:
        with Waits() as mode:
            CDPruner(keep=m).reduce(image(random(50, 60, 0), random(3, 60, 1)))
        return mode.count

    assert waits(40) == waits(2)


def test_flops_count_kernel_cosines_and_cholesky_steps():
    # n = 10, m = 3, width 4: kernel 10*10*4, cosines 10*4, steps 3*10*10 multiply-adds
    assert CDPruner(keep=3).flops(10, 3, 4) == 2 * (400 + 40 + 300)


def test_settings_are_json():
    none = {"theta": None, "similarity": None, "invert": False, "tower": None, "tokenizer": None, "turns": "first"}
    assert json.loads(json.dumps(CDPruner(theta=0.5).settings())) == {**none, "theta": 0.5}
    assert CDPruner(similarity=dot).settings()["similarity"] == "dot"
    assert json.loads(json.dumps(CDPruner(**NAMES).settings())) == {**none, **NAMES}


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"theta": 1.0}, ValueError, r"theta lies in \[0, 1\)"),
        ({"theta": -0.1}, ValueError, r"theta lies in \[0, 1\)"),
        ({"similarity": "clip"}, TypeError, "given in Python"),
        ({"keep": 1.5}, ValueError, "keep as a share"),
        ({"tower": "a/clip"}, ValueError, "tower and tokenizer go together, got 'a/clip' and None: name the CLIP"),
        ({"tokenizer": "a/llava"}, ValueError, "tower and tokenizer go together, got None and 'a/llava'"),
        ({**NAMES, "tower": ""}, ValueError, "tower and tokenizer go together"),
        ({**NAMES, "similarity": dot}, ValueError, "leave similarity and invert out, or tower"),
        ({**NAMES, "invert": True}, ValueError, "leave similarity and invert out, or tower"),
        ({**NAMES, "tower": 336}, TypeError, "folders or hub names, got 336 and"),
    ],
)
def test_settings_out_of_range_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        CDPruner(**fields)


def test_a_similarity_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"one number a token, \(4,\), got \(4, 1\)"):
        kept(X, torch.zeros(4, 1), 2)
