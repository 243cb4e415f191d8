"""What holds where tokens leave between the LLM's layers, beyond the cells."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from transformers import StaticCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import zoo
from layered import Layered
from pinhole import Full, Sample, Session, Spatial, compress
from pinhole.families import family_of
from pinhole.layer_method import LayerMethod
from pinhole.methods.fastv import FastV
from pinhole.methods.vtw import VTW
from pinhole.plan import Plan
from pinhole.reduction import Reduction
from reference import Context

TOLERANCE = 1e-4
FAMILIES = pytest.mark.parametrize("family", [name for name in zoo.ZOO if not family_of(zoo.model_of(name)).uncut])
FASTV = FastV(layer=2, keep=0.25)


@dataclass(frozen=True)
class Halving(LayerMethod):
    """Means of neighbours in front of each of two layers, the last alone where they are odd."""

    name = "halving"
    paper = "none"
    layers: tuple[int, ...] = (2, 3)

    def cuts(self, layers):
        return self.layers

    def count(self, cut, before):
        return -(-before // 2 ** (cut + 1))

    def at(self, share, layers):
        return self

    def reduce(self, tokens):
        m = self.count(tokens.cut, tokens.before)
        pairs = torch.zeros(m, tokens.n)
        for token in range(tokens.n):
            pairs[min(token // 2, m - 1), token] = 1
        return Reduction.mix(pairs / pairs.sum(-1, keepdim=True))


def check(model, methods, prompts: list[dict], side: str = "left") -> None:
    plan = Plan.of(methods)
    with torch.no_grad(), compress(model, methods):
        logits = model(**zoo.together(prompts, side)).logits
    for got, prompt in zip(logits, prompts, strict=True):
        context = Context(model, family_of(model).positions).read(prompt, plan.entry)
        wanted, alive = Layered(context, plan.layer).run()
        mine = got[-len(context.tokens) :] if side == "left" else got[: len(context.tokens)]
        torch.testing.assert_close(mine[alive], wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("entry", [Sample(keep=0.5), Spatial(keep=0.5)])
@FAMILIES
def test_an_input_method_and_one_inside_work_together(family, entry, side):
    model = zoo.model_of(family)
    check(model, [entry, FASTV], zoo.rows(family, model, batch=3), side)


@pytest.mark.parametrize("positions", ["original", "compact"])
@FAMILIES
def test_two_cuts_that_merge_tokens(family, positions):
    model = zoo.model_of(family)
    check(model, Halving(positions=positions), zoo.rows(family, model, batch=3))


@torch.no_grad()
@FAMILIES
def test_keeping_everything_changes_no_bit(family):
    model = zoo.model_of(family)
    inputs = zoo.together(zoo.rows(family, model, batch=3))
    plain = model(**inputs).logits
    with compress(model, FastV(layer=2, keep=1.0)) as compression:
        assert torch.equal(model(**inputs).logits, plain)
        answer = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert compression.layer_reductions[2][0].m == compression.layer_reductions[2][0].n
    assert torch.equal(model.generate(**inputs, max_new_tokens=2, do_sample=False), answer)


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
@FAMILIES
def test_beams_of_a_batch_are_those_of_each_prompt_alone(family, settings):
    model = zoo.model_of(family)
    prompts = zoo.rows(family, model, batch=3)
    options = {"max_new_tokens": 3, "do_sample": False, **settings}
    with compress(model, FASTV):
        batch = model.generate(**zoo.together(prompts), **options)[:, -3:]
        alone = torch.cat([model.generate(**prompt, **options)[:, -3:] for prompt in prompts])
    assert torch.equal(batch, alone)


@pytest.mark.parametrize("kernel", ["eager", "flash-like"])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_kind_of_attention_gets_the_mask_it_takes(kernel, batch, monkeypatch):
    """FlashAttention takes (B, keys) of which are real, and aligns queries with the last keys; it is imitated here."""
    family = "llava"
    model = zoo.ZOO[family].build()
    prompts = zoo.rows(family, model, batch=batch)
    inputs, words = zoo.together(prompts), zoo.words(3, seed=4, batch=batch)
    later = zoo.together(zoo.rows(family, model, seed=2, batch=batch))

    def answers() -> list[torch.Tensor]:
        session = Session(model, [Sample(keep=0.5), FASTV])
        return [session.ask(turn, max_new_tokens=3, do_sample=False) for turn in (inputs, words, later)]

    def flash_like(module, query, key, value, mask, scaling, **_):
        assert mask is None or mask.shape == (len(key), key.shape[2])
        size = query.shape[2]
        seen = torch.ones(key.shape[2], key.shape[2], dtype=torch.bool).tril()[-size:].expand(len(key), 1, -1, -1)
        if mask is not None:
            seen = seen & mask.bool()[:, None, None] | ~mask.bool()[:, None, -size:, None]
        copies = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(copies, 1), value.repeat_interleave(copies, 1)
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=scaling)
        return output.transpose(1, 2), None

    expected = answers()
    text = model.config.get_text_config(decoder=True)
    if kernel == "eager":
        model = model.float()
        inputs, later = ({k: v.float() if v.is_floating_point() else v for k, v in x.items()} for x in (inputs, later))
        expected = answers()
        monkeypatch.setattr(text, "_attn_implementation_internal", "eager")
    else:
        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", flash_like)
        monkeypatch.setattr(text, "_attn_implementation_internal", "flash_attention_2")
    for got, wanted in zip(answers(), expected, strict=True):
        assert torch.equal(got, wanted)


@FAMILIES
def test_a_turn_that_fails_leaves_the_session_as_it_was(family):
    model = zoo.model_of(family)
    first, second = zoo.row(family, model), zoo.row(family, model, seed=2)
    sessions = [Session(model, FASTV) for _ in range(2)]
    for session in sessions:
        session.ask(first, max_new_tokens=2, do_sample=False)

    def stop(_ids, _scores, **_):
        raise MemoryError("no memory left")

    with pytest.raises(MemoryError, match="no memory"):
        sessions[0].ask(second, max_new_tokens=2, do_sample=False, stopping_criteria=[stop])
    answers = [session.ask(second, max_new_tokens=3, do_sample=False) for session in sessions]
    assert torch.equal(*answers)


def test_an_answer_taken_back_makes_way_for_another():
    model = zoo.model_of("llava")
    session, told = Session(model, FASTV), Session(model, FASTV)
    first, gold, second = zoo.row("llava", model), zoo.words(2, seed=3), zoo.words(3, seed=4)
    session.ask(first, max_new_tokens=4, do_sample=False)
    session.retract()
    both = {name: torch.cat([gold[name], second[name]], 1) for name in gold}
    answer = session.ask(both, max_new_tokens=2, do_sample=False)
    told.ask({n: torch.cat([v, both[n]], 1) if n in both else v for n, v in first.items()}, max_new_tokens=1)
    context = Context(model).read(first, Full())
    for token in both["input_ids"][0].tolist():
        context.say(token)
    for token in answer[0].tolist():
        logits = Layered(context, FASTV).run()[0][-1]
        logits[zoo.IMAGE] = -torch.inf
        assert int(logits.argmax()) == token
        context.say(token)


def test_a_session_reads_its_own_method_on_a_model_that_is_compressed_otherwise():
    model = zoo.model_of("llava_onevision")
    prompt = zoo.row("llava_onevision", model, "video")
    alone = Session(model, FASTV).ask(prompt, max_new_tokens=4, do_sample=False)
    with compress(model, Halving()):
        session = Session(model, FASTV)
        inside = session.ask(prompt, max_new_tokens=4, do_sample=False)
    assert torch.equal(alone, inside)


@torch.no_grad()
@FAMILIES
def test_a_decode_loop_goes_on_with_what_each_layer_holds(family):
    model = zoo.model_of(family)
    prompt = zoo.row(family, model)
    with compress(model, FASTV):
        output = model(**prompt, use_cache=True)
        token = output.logits[:, -1].argmax(-1, keepdim=True)
        step = model(input_ids=token, past_key_values=output.past_key_values).logits
    context = Context(model, family_of(model).positions).read(prompt, Full())
    context.say(int(token))
    torch.testing.assert_close(step[0, -1], Layered(context, FASTV).run()[0][-1], rtol=0, atol=TOLERANCE)


@FAMILIES
def test_the_loss_is_over_the_words_in_their_places(family):
    model = zoo.model_of(family)
    prompt = zoo.row(family, model)
    words = prompt["input_ids"] < zoo.WORDS
    last = torch.zeros_like(words)
    last[:, -2:] = True  # behind the image, where every word's predecessor is alive
    labels = prompt["input_ids"].masked_fill(~(words & last), -100)
    with torch.no_grad(), compress(model, FASTV):
        loss = model(**prompt, labels=labels).loss
    context = Context(model, family_of(model).positions).read(prompt, Full())
    logits, _ = Layered(context, FASTV).run()
    wanted = torch.nn.functional.cross_entropy(logits[-3:-1], labels[0, -2:])
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-4, atol=1e-4)


class TestRefusals:
    def test_a_static_cache(self):
        model = zoo.model_of("llava")
        with compress(model, FASTV), pytest.raises(ValueError, match="a static cache has one length for all"):
            model(**zoo.row("llava", model), past_key_values=StaticCache(model.config.text_config, 64))
        assert model(**zoo.row("llava", model)).logits.shape[1]

    def test_a_prompt_in_chunks(self):
        model = zoo.model_of("llava")
        with compress(model, FASTV), pytest.raises(ValueError, match="cannot be read in chunks"):
            model.generate(**zoo.row("llava", model), max_new_tokens=1, prefill_chunk_size=4)

    @pytest.mark.parametrize("layer", [0, 4, 9])
    def test_a_layer_that_is_not_there(self, layer):
        with pytest.raises(ValueError, match=f"fastv drops tokens in front of layers {layer}"):
            compress(zoo.model_of("llava"), FastV(layer=layer))

    def test_layers_that_still_add_image_features(self):
        with pytest.raises(ValueError, match="add image features up to layer 1: start at layer 2 or later"):
            Session(zoo.model_of("qwen3_vl"), FastV(layer=1))

    def test_a_prompt_of_which_nothing_would_be_left(self):
        model = zoo.model_of("llava")
        prompt = zoo.row("llava", model)
        image = prompt["input_ids"][0] == zoo.IMAGE
        prompt |= {name: prompt[name][:, image] for name in ("input_ids", "attention_mask")}
        with compress(model, VTW(layer=2)), pytest.raises(ValueError, match="vtw leaves nothing of a prompt"):
            model(**prompt)

    def test_two_of_a_stage_and_what_is_no_method(self):
        with pytest.raises(ValueError, match="inside the LLM work together, got fastv, fastv"):
            Plan.of([FASTV, FASTV])
        with pytest.raises(TypeError, match="expected methods such as"):
            Plan.of([FASTV, "sample"])
        with pytest.raises(ValueError, match="positions is original or compact, got 'new'"):
            FastV(positions="new")
