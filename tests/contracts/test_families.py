"""What holds on every family beyond the cells: scopes, conversations side by side, beams, chunks, losses, failures."""

from __future__ import annotations

import itertools

import pytest
import torch

import zoo
from pinhole import Scope, Session, compress
from pinhole.decide import decide
from pinhole.families import family_of
from pinhole.shrink import shrink
from reference import Context

FAMILIES = pytest.mark.parametrize("family", list(zoo.ZOO))
READS = [(family, modality) for family, animal in zoo.ZOO.items() for modality in animal.modalities]
VIDEOS = [family for family, modality in READS if modality == "video"]
TOLERANCE = 1e-4


def check_scope(family: str, modality: str, name: str, **options: str) -> list:
    model, method, scope = zoo.model_of(family), zoo.method(name), Scope(**options)
    prompts = zoo.rows(family, model, modality, batch=2)
    with torch.no_grad(), compress(model, method, **options) as compression:
        logits = model(**zoo.together(prompts)).logits
    for got, prompt in zip(logits, prompts, strict=True):
        context = Context(model, family_of(model).positions)
        expected = context.read(prompt, method, decide=lambda visual: decide(method, visual, scope)).logits()
        torch.testing.assert_close(got[-len(expected) :], expected, rtol=0, atol=TOLERANCE)
    return compression.reductions


@pytest.mark.parametrize("name", ["sample", "spatial", "metacompress"])
@pytest.mark.parametrize("family", VIDEOS)
def test_a_video_frame_by_frame(family, name):
    whole = check_scope(family, "video", name)
    frames = check_scope(family, "video", name, video="frame")
    assert [r.n for r in whole] == [r.n for r in frames]
    prompt = zoo.row(family, zoo.model_of(family), "video")
    [visual], _ = family_of(zoo.model_of(family)).encode(prompt)
    method = zoo.method(name)
    parts = visual.tokens.layout.frames.unique(return_counts=True)[1].tolist()
    if name != "spatial":
        assert frames[0].m == sum(method.count(part) for part in parts)


@pytest.mark.parametrize("name", ["sample", "metacompress"])
@pytest.mark.parametrize(("family", "modality"), READS)
def test_separators_kept(family, modality, name):
    model, method = zoo.model_of(family), zoo.method(name)
    visuals = [family_of(model).encode(p)[0] for p in zoo.rows(family, model, modality, batch=2)]
    reductions = check_scope(family, modality, name, separators="keep")
    for visual, reduction in zip(itertools.chain(*visuals), reductions, strict=True):
        marks = visual.tokens.layout.separators
        count = int(marks.sum())
        assert reduction.m == count + method.count(reduction.n - count)
        assert set(marks.nonzero()[:, 0].tolist()) <= set(reduction.anchors.tolist())


@FAMILIES
def test_two_conversations_on_one_model_never_meet(family):
    model = zoo.model_of(family)

    def turns(seed: int) -> list[dict]:
        return [zoo.row(family, model, "image", seed), zoo.words(3, seed), zoo.row(family, model, "image", seed + 1)]

    def ask(session: Session, turn: dict) -> list[int]:
        return session.ask(turn, max_new_tokens=3, do_sample=False)[0].tolist()

    alone = []
    for seed, name in ((0, "sample"), (5, "spatial")):
        session = Session(model, zoo.method(name))
        alone.append([ask(session, turn) for turn in turns(seed)])
    first, second = Session(model, zoo.method("sample")), Session(model, zoo.method("spatial"))
    side_by_side: list[list] = [[], []]
    for one, other in zip(turns(0), turns(5), strict=True):
        side_by_side[0].append(ask(first, one))
        side_by_side[1].append(ask(second, other))
    assert side_by_side == alone


@torch.no_grad()
def test_qwen_itself_mixes_conversations_up():
    """Why positions are never left to the model: its own state is that of whoever came last."""
    model = zoo.model_of("qwen2_vl")
    first, second = zoo.row("qwen2_vl", model, seed=1), zoo.row("qwen2_vl", model, seed=0, count=2)

    def next_logits(cache) -> torch.Tensor:
        return model(input_ids=torch.tensor([[7]]), past_key_values=cache).logits

    alone = next_logits(model(**first).past_key_values)
    cache = model(**first).past_key_values
    model(**second)
    assert not torch.allclose(next_logits(cache), alone)


@torch.no_grad()
@FAMILIES
def test_a_decode_loop_without_positions_goes_on_where_the_prompt_ended(family):
    model, method = zoo.model_of(family), zoo.method("sample")
    prompt = zoo.row(family, model)
    with compress(model, method):
        output = model(**prompt, use_cache=True)
        token = output.logits[:, -1].argmax(-1, keepdim=True)
        step = model(input_ids=token, past_key_values=output.past_key_values).logits
    context = Context(model, family_of(model).positions).read(prompt, method)
    context.say(int(token))
    torch.testing.assert_close(step[0, -1], context.logits()[-1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
@pytest.mark.parametrize(("family", "modality"), READS)
def test_beams_of_a_batch_are_those_of_each_prompt_alone(family, modality, settings):
    model, method = zoo.model_of(family), zoo.method("metacompress")
    prompts = zoo.rows(family, model, modality, batch=3)
    options = {"max_new_tokens": 3, "do_sample": False, **settings}
    with compress(model, method):
        batch = model.generate(**zoo.together(prompts), **options)[:, -3:]
        alone = torch.cat([model.generate(**prompt, **options)[:, -3:] for prompt in prompts])
    assert torch.equal(batch, alone)


@FAMILIES
def test_a_prompt_in_chunks_gives_the_same_answer(family):
    if family == "ovis2":
        pytest.skip("transformers gives the marks of a picture their embeddings only in chunks that hold some of it")
    model, method = zoo.model_of(family), zoo.method("metacompress")
    prompt = zoo.row(family, model, count=2)
    with compress(model, method):
        whole = model.generate(**prompt, max_new_tokens=3, do_sample=False)
        chunks = model.generate(**prompt, max_new_tokens=3, do_sample=False, prefill_chunk_size=5)
    assert torch.equal(whole, chunks)


@FAMILIES
def test_a_loss_teaches_a_learned_method_and_ignores_padding(family):
    model, method = zoo.model_of(family), zoo.method("metacompress")
    prompts = zoo.rows(family, model, batch=3)
    for prompt in prompts:
        words = prompt["input_ids"] < zoo.WORDS
        prompt["labels"] = prompt["input_ids"].masked_fill(~words, -100)
    inputs = zoo.together(prompts, "right")
    inputs["labels"] = inputs["labels"].masked_fill(inputs["attention_mask"] == 0, -100)
    with compress(model, method):
        loss = model(**inputs).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())
    model.zero_grad()
    losses = []
    for prompt in prompts:
        context = Context(model, family_of(model).positions).read(prompt, method, prompt["labels"][0])
        labels = torch.tensor(context.labels[1:])
        losses += torch.nn.functional.cross_entropy(context.logits()[:-1], labels, reduction="none")[labels >= 0]
    torch.testing.assert_close(loss.detach().double(), torch.stack(losses).mean(), rtol=1e-4, atol=1e-4)


@FAMILIES
def test_a_turn_that_fails_leaves_the_session_as_it_was(family):
    model = zoo.model_of(family)
    first, second = zoo.row(family, model), zoo.row(family, model, seed=2)
    expected = Session(model, zoo.method("sample"))
    session = Session(model, zoo.method("sample"))
    for each in (expected, session):
        each.ask(first, max_new_tokens=2, do_sample=False)

    def stop(_ids, _scores, **_):
        raise MemoryError("no memory left")

    with pytest.raises(MemoryError, match="no memory"):
        session.ask(second, max_new_tokens=2, do_sample=False, stopping_criteria=[stop])
    assert session.context.length == expected.context.length
    answers = [each.ask(second, max_new_tokens=2, do_sample=False) for each in (expected, session)]
    assert torch.equal(*answers)


@FAMILIES
def test_original_positions_are_refused_where_flash_attention_would_misread_them(family, monkeypatch):
    model = zoo.model_of(family)
    text = model.config.get_text_config(decoder=True)
    monkeypatch.setattr(text, "_attn_implementation_internal", "flash_attention_2")
    for make in (compress, Session):
        if family_of(model).positions == "original":
            made = make(model, zoo.method("sample"), positions="original")
            if make is compress:
                made.remove()
        else:
            with pytest.raises(ValueError, match="positions='original' cannot be used with flash_attention_2: "):
                make(model, zoo.method("sample"), positions="original")


@FAMILIES
def test_too_few_features_for_the_prompt_are_refused(family):
    model = zoo.model_of(family)
    prompt = zoo.row(family, model)
    image = prompt["input_ids"][0] == family_of(model).token_id("image")
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if name in prompt:
            prompt[name] = torch.cat([prompt[name], prompt[name][:, image.nonzero()[:1, 0]]], 1)
    with pytest.raises(ValueError, match=r"visual tokens of .* placeholders in the prompt: give one image for each"):
        shrink(family_of(model), prompt, zoo.method("sample"))
