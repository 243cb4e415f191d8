"""Adapters: they act while their method reads and at no other time, and merged they are the same model."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import replace

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

import adapted
import pinhole
import tiny
import zoo
from pinhole import ADSC, Full, Session, adapter_folders, compress
from pinhole.adapter_folders import adapter_of
from pinhole.evaluation.contender import contenders
from pinhole.families import family_of
from pinhole.loading import load
from pinhole.registry import MethodSpec

PLAIN = ADSC(schedule=adapted.SCHEDULE)
NO_CUT = ((1, 1.0), (2, 1.0))


@pytest.fixture
def model():
    return tiny.llava()


@pytest.fixture
def method(model, tmp_path):
    return adapted.saved(tmp_path / "a", adapted.adapter(model))


def state_of(model):
    """All that tells a model apart from one that was changed."""
    return (
        {name: id(module) for name, module in model.named_modules()},
        {name: (id(value), value.requires_grad) for name, value in model.named_parameters()},
        {name: value.clone() for name, value in model.state_dict().items()},
        {name: len(module._forward_hooks) + len(module._forward_pre_hooks) for name, module in model.named_modules()},
        set(vars(model)),
    )


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert all(torch.equal(one[2][name], other[2][name]) for name in one[2] | other[2])
    assert one[3:] == other[3:]


def by_peft(model, folder):
    """A copy of the model with the adapter, loaded by peft alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in a way that is deprecated
        return peft.PeftModel.from_pretrained(copy.deepcopy(model), str(folder))


@torch.no_grad()
def test_peft_reads_the_folder_and_means_the_same(model, method, tmp_path):
    inputs = tiny.inputs(batch=2)
    whole = replace(method, schedule=NO_CUT)
    with compress(model, whole):
        got = model(**inputs).logits
    assert torch.equal(got, by_peft(model, tmp_path / "a")(**inputs).logits)
    assert not torch.allclose(got, model(**inputs).logits, atol=0.1)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_with_a_schedule_it_is_the_merged_model_under_that_schedule(model, method, tmp_path, side):
    inputs = tiny.inputs(batch=3, side=side)
    merged = by_peft(model, tmp_path / "a").merge_and_unload()
    with compress(model, method), compress(merged, PLAIN):
        torch.testing.assert_close(model(**inputs).logits, merged(**inputs).logits, rtol=0, atol=1e-10)
        said = [lvlm.generate(**inputs, max_new_tokens=5, do_sample=False) for lvlm in (model, merged)]
        assert torch.equal(*said), "decode steps too"
        beams = [lvlm.generate(**inputs, max_new_tokens=4, num_beams=3, do_sample=False) for lvlm in (model, merged)]
        assert torch.equal(*beams)


@torch.no_grad()
def test_a_decode_loop_by_hand(model, method, tmp_path):
    inputs, word = tiny.inputs(), tiny.words(1, seed=3)["input_ids"]
    logits = []
    for lvlm, one in ((model, method), (by_peft(model, tmp_path / "a").merge_and_unload(), PLAIN)):
        with compress(lvlm, one):
            first = lvlm(**inputs, use_cache=True)
            logits.append(lvlm(input_ids=word, past_key_values=first.past_key_values).logits)
    torch.testing.assert_close(*logits, rtol=0, atol=1e-10)


@torch.no_grad()
def test_prompts_without_images_are_read_by_the_plain_model(model, method):
    words = tiny.words(9, seed=1)
    plain = model(**words).logits
    with compress(model, method):
        assert torch.equal(model(**words).logits, plain)
        model(**tiny.inputs())
        assert torch.equal(model(**words).logits, plain)
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        assert torch.equal(model(**words, past_key_values=cache).logits, plain)


def broken(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("part", ["llm", "encoder"])
def test_the_model_is_as_before_whatever_happens(model, method, error, part):
    words = tiny.words(9, seed=1)
    plain = model(**words).logits
    model(**tiny.inputs())  # transformers hooks the encoder once, at its first pass
    before = state_of(model)
    with compress(model, method):
        model(**tiny.inputs())
        model.generate(**tiny.inputs(), max_new_tokens=2)
        parts = {"llm": model.model.language_model.layers[2], "encoder": model.model.vision_tower}
        handle = parts[part].register_forward_hook(broken(error))
        with pytest.raises(type(error)):
            model(**tiny.inputs())
        handle.remove()
        assert torch.equal(model(**words).logits, plain), "the failed pass leaves nothing to the next"
    assert_same(state_of(model), before)
    handle = parts[part].register_forward_hook(broken(error))
    with pytest.raises(type(error)):
        Session(model, method).ask(tiny.inputs(), max_new_tokens=2)
    handle.remove()
    assert_same(state_of(model), before)


def test_trained_weights_of_the_model_stay_trained(model, method):
    model.requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    before = state_of(model)
    compress(model, method).remove()
    assert_same(state_of(model), before)


def test_sessions_with_other_methods_do_not_meet(model, method, tmp_path):
    other = adapted.saved(tmp_path / "b", adapted.adapter(model, seed=9), ((2, 0.25),))
    methods = [method, Full(), other, PLAIN, replace(method, schedule=((2, 0.5),))]

    def turns(session):
        yield session.ask(tiny.inputs(), max_new_tokens=4, do_sample=False)
        for seed in (1, 2):
            yield session.ask(tiny.words(5, seed=seed), max_new_tokens=4, do_sample=False)

    alone = [torch.cat(list(turns(Session(model, one))), 1) for one in methods]
    together = zip(*(turns(Session(model, one)) for one in methods), strict=True)
    mixed = [torch.cat(said, 1) for said in zip(*together, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(alone, mixed, strict=True))
    assert len({tuple(said[0].tolist()) for said in alone}) == len(methods), "each method says something else"


def test_a_session_that_starts_with_words_is_the_adapters_from_its_first_word(model, method, tmp_path):
    def said(lvlm, one):
        session = Session(lvlm, one)
        words = session.ask(tiny.words(6, seed=4), max_new_tokens=4, do_sample=False)
        return torch.cat([words, session.ask(tiny.inputs(), max_new_tokens=4, do_sample=False)], 1)

    merged = by_peft(model, tmp_path / "a").merge_and_unload()
    assert torch.equal(said(model, method), said(merged, PLAIN))


@torch.no_grad()
def test_merged_it_is_a_plain_model_that_saves_and_loads(embedded, tmp_path):
    given, processor = embedded
    model = copy.deepcopy(given)
    method = adapted.saved(tmp_path / "a", adapted.adapter(model, size=0.25), ((1, 0.3), (3, 0.1)))
    plain = replace(method, adapter=None)
    ids = torch.tensor([[5, 6, *[family_of(model).token_id("image")] * 144, 7, 8]])
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    with compress(model, method):
        unmerged = model(**inputs).logits
    names = list(model.state_dict())
    assert pinhole.merge(model, method) is model
    assert list(model.state_dict()) == names
    with compress(model, plain):
        merged = model(**inputs).logits
    torch.testing.assert_close(merged, unmerged, rtol=1e-5, atol=1e-5)
    with compress(model, method):
        assert torch.equal(model(**inputs).logits, merged), "it is not added twice"
    model.save_pretrained(tmp_path / "merged")
    processor.save_pretrained(tmp_path / "merged")
    again, _ = load(str(tmp_path / "merged"), device="cpu")
    with compress(again, plain):
        assert torch.equal(again(**inputs).logits, merged)
    with pytest.raises(ValueError, match="merged into the model already"):
        pinhole.merge(model, method)


def test_there_is_nothing_to_merge_without_an_adapter(model):
    with pytest.raises(ValueError, match="this adsc has no adapter"):
        pinhole.merge(model, PLAIN)


def test_one_call_loads_a_folder_and_settings_replace_the_saved_ones(method, tmp_path):
    assert method == ADSC(schedule=adapted.SCHEDULE, adapter=str(tmp_path / "a"))
    assert MethodSpec.parse(f"adsc:{tmp_path / 'a'}").build(8) == method
    assert MethodSpec.parse(f"adsc:{tmp_path / 'a'},schedule={{2:0.5}},positions=compact").build(8) == ADSC(
        "compact", ((2, 0.5),), str(tmp_path / "a")
    )
    assert ADSC.from_pretrained(tmp_path / "a", schedule={2: 0.5}).schedule == ((2, 0.5),)


def test_a_hub_name_is_downloaded_and_nothing_but_three_files(method, tmp_path, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, sorted(allow_patterns)))
        return str(tmp_path / "a")

    monkeypatch.setattr("pinhole.hub.snapshot_download", download)
    assert MethodSpec.parse("adsc:owner/name").build(8) == method
    assert asked == [("owner/name", ["adapter_config.json", "adapter_model.safetensors", "config.json"])]


def test_a_contender_is_known_by_the_weights_of_its_adapter(model, method, tmp_path):
    shape = family_of(model).shape
    text = f"adsc:{tmp_path / 'a'}"
    [one] = contenders([text], [0.1], shape)
    assert contenders([text], [0.1], shape)[0].key == one.key
    [written] = contenders([f"adsc:adapter='{tmp_path / 'a'}',schedule={{1:0.5,2:0.25}}"], [0.1], shape)
    assert written.key == one.key
    adapted.saved(tmp_path / "a", adapted.adapter(model, seed=5))
    [other] = contenders([text], [0.1], shape)
    assert other.key != one.key


def test_weights_that_were_trained_on_are_read_anew(model, method, tmp_path):
    family = family_of(model)
    one = adapter_of(family, method.adapter)
    assert adapter_of(family, method.adapter) is one
    weights = [weight.clone() for weight in one.weights.values()]
    adapted.saved(tmp_path / "a", adapted.adapter(model, seed=5))
    for weight, before in zip(adapter_of(family, method.adapter).weights.values(), weights, strict=True):
        assert not torch.equal(weight, before)


def test_adapters_of_a_model_that_is_gone_are_gone(model, tmp_path):
    method = adapted.saved(tmp_path / "a", adapted.adapter(tiny.llava()))
    mine = tiny.llava()
    Session(mine, method)
    assert mine in adapter_folders._loaded
    count = len(adapter_folders._loaded)
    del mine
    assert len(adapter_folders._loaded) == count - 1


def edited(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is not plain LoRA: peft_type is 'IA3' there"),
        ({"init_lora_weights": "pissa"}, "is not plain LoRA: init_lora_weights is 'pissa' there"),
        ({"use_dora": True}, "is not plain LoRA: use_dora is True there"),
        ({"alpha_pattern": {"q_proj": 2}}, "is not plain LoRA: alpha_pattern is {'q_proj': 2} there"),
        ({"r": 2}, r"does not fit: base_model.*lora_A.weight is \[4, 32\] there and \[2, 32\]"),
    ],
)
def test_configurations_that_do_not_fit_are_refused_before_anything_runs(model, method, tmp_path, changes, message):
    before = state_of(model)
    edited(tmp_path / "a" / "adapter_config.json", **changes)
    for use in (compress, Session):
        with pytest.raises(ValueError, match=message):
            use(model, method)
    assert_same(state_of(model), before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj.lora_A.weight", "also at model.vision_tower.encoder"),
        ("lm_head.lora_A.weight", "adapters act in the LLM's layers alone, this one also at lm_head"),
        ("lm_head.weight", r"does not fit: base_model.model.lm_head.weight is \[4, 24\] there and None for this model"),
    ],
)
def test_weights_of_other_places_are_refused_before_anything_runs(model, method, tmp_path, name, message):
    before, file = state_of(model), tmp_path / "a" / "adapter_model.safetensors"
    save_file({**load_file(file), f"base_model.model.{name}": torch.zeros(4, 24)}, file)
    with pytest.raises(ValueError, match=message):
        compress(model, method)
    assert_same(state_of(model), before)


def test_an_adapter_of_another_width_is_refused(method):
    with pytest.raises(ValueError, match=r"does not fit: .*load the model it was trained for"):
        compress(tiny.llava(width=64), method)


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_without_its_files_is_refused(method, tmp_path, file):
    (tmp_path / "a" / file).unlink()
    with pytest.raises(ValueError, match=rf"no adapter in .*: {file} is missing \(was training finished\?\)"):
        ADSC.from_pretrained(tmp_path / "a")


@pytest.mark.parametrize("text", ["{", "[]", '{"schedule": null}'])
def test_a_damaged_config_is_refused(method, tmp_path, text):
    (tmp_path / "a" / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json in .* is not one of adsc"):
        ADSC.from_pretrained(tmp_path / "a")


def test_an_adapter_that_went_away_is_refused(model, method, tmp_path):
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match="no adapter in"):
        compress(model, method)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no folder 'nowhere' with adsc weights"):
        MethodSpec.parse("adsc:nowhere").build(8)
    with pytest.raises(ValueError, match="no folder 'nowhere' with an adapter, and not a hub name"):
        ADSC.from_pretrained("nowhere")


def test_a_model_with_adapters_of_its_own_is_refused(model, method):
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["lm_head"]), model)
    with pytest.raises(ValueError, match="adapters of its own"):
        compress(model, method)


INSIDE = [name for name in zoo.ZOO if not family_of(zoo.model_of(name)).uncut]


@torch.no_grad()
@pytest.mark.parametrize("family", INSIDE)
def test_every_family_whose_tokens_can_leave_takes_adapters(family, tmp_path):
    model = zoo.model_of(family)
    inputs = zoo.together(zoo.rows(family, model, batch=2))
    method = adapted.saved(tmp_path / "a", adapted.adapter(model, targets="all-linear"), ((2, 0.5), (3, 0.25)))
    model(**inputs)
    before, plain = state_of(model), replace(method, adapter=None)
    with compress(model, plain):
        expected = model(**inputs).logits
    with compress(model, method):
        assert not torch.allclose(model(**inputs).logits, expected, atol=1e-3)
    with compress(model, plain):
        assert torch.equal(model(**inputs).logits, expected)
    assert_same(state_of(model), before)
