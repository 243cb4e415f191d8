"""What a server is asked for, and what is refused before it starts: nothing here needs vLLM."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
import torch

import zoo
from pinhole.families import family_of
from pinhole.methods.metacompress import MetaCompress
from pinhole.methods.relevance import Relevance
from pinhole.registry import method_names
from pinhole.serving import MODELS, untested
from pinhole.serving.command import command, vllm_version
from pinhole.serving.reducer import Reducer, blueprint
from pinhole.serving.servable import encoder_cues, servable
from pinhole.serving.settings import Settings
from zoo.parts import WIDTH

SERVED = sorted(MODELS)


def config_of(family, method="sample", keep=0.25):
    config = copy.deepcopy(zoo.model_of(family).config)
    config.pinhole = {"method": method, "keep": keep}
    return config


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a model's configuration alone."""
    zoo.model_of("llava").config.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


class TestSettings:
    def test_they_come_back_from_a_configuration_as_they_were_written(self):
        config = config_of("qwen2_vl")
        overrides = json.loads(json.dumps(Settings("sample:keep=0.5", 9).overrides("qwen2_vl")))
        assert overrides["architectures"] == ["PinholeQwen2VLForConditionalGeneration"]
        config.pinhole = overrides["pinhole"]
        assert Settings.of(config) == Settings("sample:keep=0.5", 9)

    @pytest.mark.parametrize("given", [None, "sample", {}, {"keep": 0.1}, {"method": 3}, {"method": "x", "kept": 1}])
    def test_others_are_refused(self, given):
        config = config_of("llava")
        config.pinhole = given
        with pytest.raises(ValueError, match="pinhole in --hf-overrides is"):
            Settings.of(config)

    @pytest.mark.parametrize("keep", [0, 1.5, -1])
    def test_a_keep_out_of_range_is_refused(self, keep):
        with pytest.raises(ValueError, match="keep as a"):
            Settings.of(config_of("llava", keep=keep))

    def test_a_model_that_is_not_served_is_refused(self):
        with pytest.raises(ValueError, match="'gemma3' cannot be served; types that can: llava, "):
            Settings("sample").overrides("gemma3")


class TestServable:
    @pytest.mark.parametrize("family", SERVED)
    def test_methods_are_served_that_a_server_can_tell_all_they_read(self, family, tmp_path):
        for learned in (MetaCompress, Relevance):
            learned.create(WIDTH).save_pretrained(tmp_path / learned.name)
        model, served = family_of(zoo.model_of(family)), set()
        for name in method_names():
            spec = f"{name}:{tmp_path / name}" if name in ("metacompress", "relevance") else name
            spec = f"{name}:labels={tmp_path}" if name == "oracle" else spec
            with contextlib.suppress(ValueError):
                served.add(servable(Settings(spec, 0.25), model).name)
        always = {"full", "random", "sample", "spatial", "tome", "divprune", "metacompress", "relevance"}
        cls = {"visionzip", "vispruner"} if family in ("llava", "llava_next") else set()
        assert served == always | cls

    @pytest.mark.parametrize(
        ("method", "reason"),
        [
            ("fastv", "between the LLM's layers"),
            ("metacompress", "serve it with its weights"),
            ("cdpruner", "of the question it reads prompt_embeddings, and a server gives first_layer_attention alone"),
            ("cdpruner:turns=each", "set turns=first"),
            ("prumerge", "does not give"),
            ("prumerge:keep=none", "depends on the picture"),
            ("oracle:labels=.", "looks its answers up"),
            ("sampel", "did you mean 'sample'"),
        ],
    )
    def test_the_reason_is_the_methods_own(self, method, reason):
        with pytest.raises(ValueError, match=reason):
            servable(Settings(method, 0.25), family_of(zoo.model_of("llava")))

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [({"input_layer": 1}, "reads attention@1, and a server gives"), ({"turns": "each"}, "set turns=first")],
    )
    def test_a_later_look_at_the_question_is_refused(self, settings, reason, tmp_path):
        Relevance.create(WIDTH, **settings).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=reason):
            servable(Settings(f"relevance:{tmp_path}"), family_of(zoo.model_of("llava")))

    def test_weights_for_another_width_are_refused(self, tmp_path):
        MetaCompress.create(WIDTH * 2).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="width"):
            servable(Settings(f"metacompress:{tmp_path}"), family_of(zoo.model_of("llava")))

    def test_weights_keep_their_precision_where_a_server_builds_in_another(self, tmp_path):
        method = MetaCompress.create(WIDTH)
        method.save_pretrained(tmp_path)
        torch.set_default_dtype(torch.bfloat16)
        try:
            served = servable(Settings(f"metacompress:{tmp_path}"), family_of(zoo.model_of("llava")))
            assert torch.get_default_dtype() == torch.bfloat16
        finally:
            torch.set_default_dtype(torch.float32)
        assert torch.equal(served.w_q, method.w_q)

    def test_cues_of_a_layer_that_a_server_does_not_build_are_left_out(self):
        llava = family_of(zoo.model_of("llava"))
        assert encoder_cues(llava) < llava.provides
        assert encoder_cues(llava) == {"cls_attention", "cls_attention_joint", "received_attention", "encoder_keys"}


class TestIdentity:
    def test_it_tells_methods_keeps_settings_and_weights_apart(self, tmp_path):
        specs = ["sample", "random", "random:seed=1"]
        for seed in (0, 1):
            MetaCompress.create(WIDTH, seed).save_pretrained(tmp_path / str(seed))
            specs.append(f"metacompress:{tmp_path / str(seed)}")
        configs = [config_of("llava", spec, keep) for spec in specs for keep in (0.25, 0.5)]
        assert len({Reducer.of(config).identity() for config in configs}) == len(configs)

    def test_it_is_the_same_in_every_process(self, tmp_path):
        MetaCompress.create(WIDTH).save_pretrained(tmp_path)
        config = config_of("llava", f"metacompress:{tmp_path}")
        assert Reducer.of(config).identity() == Reducer.of(config).identity()


class TestReducer:
    @pytest.mark.parametrize("family", SERVED)
    @pytest.mark.parametrize("method", ["sample", "spatial", "random", "divprune", "tome"])
    def test_it_decides_as_the_method_does_on_the_loaded_model(self, family, method):
        model = zoo.model_of(family)
        inputs = zoo.row(family, model, count=1)
        reducer = Reducer.of(config_of(family, method))
        visuals, _ = family_of(model).encode(inputs, reducer.method.needs)
        encoder = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        calls = {name: patches_of(model, inputs, name) for name in reducer.method.needs}
        answers = reducer.reduce("image", [visual.tokens.x for visual in visuals], encoder, calls)
        for visual, (reduction, tokens) in zip(visuals, answers, strict=True):
            expected = reducer.method.reduce(visual.tokens)
            torch.testing.assert_close(reduction.matrix(), expected.matrix(), rtol=0, atol=0)
            assert len(tokens) == reducer.count("image", visual.tokens.n, encoder)

    @pytest.mark.parametrize("family", SERVED)
    def test_it_decides_by_the_question_as_on_the_loaded_model(self, family, tmp_path):
        Relevance.create(WIDTH).save_pretrained(tmp_path)
        model = zoo.model_of(family)
        inputs = zoo.row(family, model, count=1)
        reducer = Reducer.of(config_of(family, f"relevance:{tmp_path}"))
        [visual], _ = family_of(model).encode(inputs, reducer.method.needs)
        encoder = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        looks = [visual.tokens.cues["first_layer_attention"]]
        [(reduction, _)] = reducer.reduce("image", [visual.tokens.x], encoder, {}, looks)
        torch.testing.assert_close(reduction.matrix(), reducer.method.reduce(visual.tokens).matrix(), rtol=0, atol=0)

    def test_a_blueprint_has_no_weights(self):
        family = blueprint(zoo.model_of("qwen2_5_vl").config)
        assert all(weights.is_meta for weights in family.model.parameters())


def patches_of(model, inputs, name):
    """One cue of the encoder's patches, as the encoder calls its attention."""
    from pinhole.families.cues import recorded

    family = family_of(model)
    with recorded(family.encoder(inputs), {name}) as calls:
        family.encode(inputs)
    return calls[name]


class TestCommand:
    def test_it_is_vllms_own_with_the_overrides(self, checkpoint):
        line = command(checkpoint, Settings("spatial", 0.1), ["--port", "8001"])
        assert line[:4] == ["vllm", "serve", checkpoint, "--hf-overrides"]
        assert json.loads(line[4]) == Settings("spatial", 0.1).overrides("llava")
        assert line[5:] == ["--port", "8001"]

    def test_what_cannot_be_served_is_refused_before_anything_starts(self, checkpoint):
        with pytest.raises(ValueError, match="fastv drops tokens between"):
            command(checkpoint, Settings("fastv", 0.1), [])

    @pytest.mark.parametrize("flags", [["--hf-overrides", "{}"], ["--hf-overrides={}"], ["--hf_overrides", "{}"]])
    def test_overrides_beside_its_own_are_refused(self, checkpoint, flags):
        with pytest.raises(ValueError, match="is written here"):
            command(checkpoint, Settings("sample"), flags)

    def test_without_vllm_one_error_says_where_to_read(self, monkeypatch):
        monkeypatch.setattr("pinhole.serving.command.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"docs/serving\.md"):
            vllm_version()

    def test_only_a_tested_version_is_passed_over_in_silence(self):
        assert untested("0.32.1+cpu") is None
        assert "this is 0.33.0" in untested("0.33.0")
