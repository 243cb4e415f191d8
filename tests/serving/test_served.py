"""An evaluation by another engine, with a stub in vLLM's place: what it is asked, and what becomes of its answers."""

from __future__ import annotations

import json
import shutil

import pytest

import zoo
from pinhole.data import Dialogue, read_dialogues
from pinhole.evaluation import compare
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.runner import EvalSettings
from pinhole.families import family_of
from pinhole.loading import fingerprint, load
from pinhole.methods.metacompress import MetaCompress
from pinhole.scenes import checkpoint
from pinhole.serving import served as module
from pinhole.serving.greedy import greedy
from pinhole.serving.served import Served
from pinhole.serving.unloaded import unloaded
from stub_engine import EngineStub

MODEL = str(checkpoint())
NAMES = Names(MODEL, "scenes")


@pytest.fixture
def diary(monkeypatch):
    monkeypatch.setattr(module, "EngineProcess", EngineStub)
    monkeypatch.setattr(module, "vllm_version", lambda: "0.32.0")
    monkeypatch.setattr(EngineStub, "diary", [])
    return EngineStub.diary


def run(out, dialogues, methods=("full", "sample"), **options):
    """Evaluate by the engine; returns the results and the engine."""
    settings = options.pop("settings", EvalSettings())
    model, processor = unloaded(MODEL)
    with Served(MODEL, model, processor, {"image": 2, "video": 0}, options) as engine:
        rivals = contenders([*methods], [0.25], family_of(model).shape)
        return evaluate(
            model, processor, rivals, dialogues, out, NAMES, settings, engine=engine, show_progress=False
        ), engine


def by_itself(embedded, out, dialogues, methods=("full", "sample"), settings=None):
    """Evaluate on transformers."""
    rivals = contenders([*methods], [0.25], family_of(embedded[0]).shape)
    return evaluate(*embedded, rivals, dialogues, out, NAMES, settings, ttft_dialogues=0, show_progress=False)


class TestAnswers:
    @pytest.mark.parametrize("history", ["own", "gold"])
    def test_they_are_those_on_transformers_with_everything_that_is_told_of_them(
        self, embedded, scenes, tmp_path, diary, history
    ):
        first, second, *others = read_dialogues(scenes)[:5]
        short = Dialogue("short", (*second.images, *first.images), second.turns[:2])
        settings = EvalSettings(history, max_new_tokens=6, batch=3)
        there = by_itself(embedded, tmp_path / "there", [first, short, *others], settings=settings)
        here, _ = run(tmp_path / "here", [first, short, *others], settings=settings)
        assert here["rows"] == there["rows"]
        files = [tmp_path / name / "answers.jsonl" for name in ("here", "there")]
        assert files[0].read_text() == files[1].read_text()
        asked = ["ask 3"] * 3 + ["ask 1"] * 5
        assert diary == ["start full", *asked, "stop full", "start sample", *asked, "stop sample"]

    def test_weights_and_settings_of_a_method_reach_the_engine(self, embedded, scenes, tmp_path, diary):
        MetaCompress.create(192, seed=3, d_c=8).save_pretrained(tmp_path / "weights")
        methods = [f"metacompress:{tmp_path / 'weights'},keep=9", "random:seed=2"]
        dialogues = read_dialogues(scenes)[:2]
        there = by_itself(embedded, tmp_path / "there", dialogues, methods)
        here, _ = run(tmp_path / "here", dialogues, methods)
        assert [row["kept_tokens"] for row in here["rows"]] == [9, 36]
        assert here["rows"] == there["rows"]

    def test_a_run_that_stopped_goes_on_and_one_that_is_done_starts_no_engine(
        self, scenes, tmp_path, diary, monkeypatch
    ):
        dialogues = read_dialogues(scenes)[:4]
        run(tmp_path / "whole", dialogues)
        real = EngineStub.ask

        def stopping(stub, prompts, sampling):
            if stub.settings.method == "sample":
                raise KeyboardInterrupt
            return real(stub, prompts, sampling)

        monkeypatch.setattr(EngineStub, "ask", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", dialogues)
        assert diary[-1] == "stop sample"
        monkeypatch.setattr(EngineStub, "ask", real)
        diary.clear()
        run(tmp_path / "cut", dialogues)
        assert diary == ["start sample", *["ask 4"] * 3, "stop sample"]
        assert (tmp_path / "cut" / "answers.jsonl").read_text() == (tmp_path / "whole" / "answers.jsonl").read_text()
        diary.clear()
        run(tmp_path / "cut", dialogues)
        assert diary == []

    def test_a_prompt_that_vllm_reads_otherwise_is_an_error(self, scenes, tmp_path, diary, monkeypatch):
        real = EngineStub.ask
        monkeypatch.setattr(EngineStub, "ask", lambda *a: [s._replace(prompt=s.prompt + 1) for s in real(*a)])
        with pytest.raises(ValueError, match=r"vLLM reads \d+ tokens of a prompt that has"):
            run(tmp_path, read_dialogues(scenes)[:1])
        assert diary[-1] == "stop full"

    def test_an_answer_that_does_not_fit_is_an_error(self, scenes, tmp_path, diary, monkeypatch):
        monkeypatch.setattr(EngineStub, "cut", True)
        with pytest.raises(ValueError, match="give a larger --engine-options max_model_len"):
            run(tmp_path, read_dialogues(scenes)[:1])


class TestWhatIsNoted:
    def test_engines_do_not_mix_in_a_folder_and_are_compared_where_that_is_asked_for(
        self, embedded, scenes, tmp_path, diary
    ):
        dialogues = read_dialogues(scenes)[:3]
        run(tmp_path / "here", dialogues, ["full"])
        with pytest.raises(ValueError, match="engine was 'vllm', is 'transformers'"):
            by_itself(embedded, tmp_path / "here", dialogues, ["full"])
        by_itself(embedded, tmp_path / "there", dialogues, ["full"])
        noted = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("here", "there")]
        unlike = {name for name in noted[0] if noted[0][name] != noted[1][name]}
        assert unlike == {"engine", "attention"}, "weights, dtype and all others are the same"
        runs = [compare.Run.read(tmp_path / name) for name in ("there", "here")]
        with pytest.raises(ValueError, match="engine was 'transformers', is 'vllm'"):
            compare.compare(*runs)
        [found] = compare.compare(*runs, across_models=True)
        assert found.change.difference == 0
        assert "engine was 'transformers', is 'vllm'" in compare.told_differences(*runs)[0]

    def test_a_folder_from_before_engines_had_names_goes_on(self, embedded, scenes, tmp_path):
        dialogues = read_dialogues(scenes)[:1]
        by_itself(embedded, tmp_path, dialogues, ["full"])
        path = tmp_path / "evaluation.json"
        older = json.loads(path.read_text())
        assert older.pop("engine") == "transformers"
        path.write_text(json.dumps(older))
        by_itself(embedded, tmp_path, dialogues, ["full"])
        assert compare.Run.read(tmp_path).settings["engine"] == "transformers"

    def test_only_options_that_change_answers_are_noted(self, scenes, tmp_path, diary):
        dialogues = read_dialogues(scenes)[:1]
        options = {"max_model_len": 512, "kv_cache_dtype": "fp8"}
        _, engine = run(tmp_path, dialogues, ["full"], **options)
        assert engine.described()["engine_options"] == {"kv_cache_dtype": "fp8"}
        run(tmp_path, dialogues, ["full"], kv_cache_dtype="fp8", gpu_memory_utilization=0.5)
        with pytest.raises(ValueError, match="engine_options was"):
            run(tmp_path, dialogues, ["full"])


class TestCheckpoint:
    def test_it_is_known_without_its_weights(self, embedded):
        model, _ = unloaded(MODEL)
        assert fingerprint(model) == fingerprint(embedded[0])
        assert family_of(model).shape == family_of(embedded[0]).shape
        assert model.generation_config.eos_token_id == embedded[0].generation_config.eos_token_id
        half, _ = unloaded(MODEL, "bfloat16")
        assert family_of(half).shape.bytes_per_value == 2
        assert fingerprint(half) == fingerprint(load(MODEL, "bfloat16", "cpu")[0]) != fingerprint(model)

    def test_without_readable_weights_it_is_refused(self, tmp_path):
        folder = shutil.copytree(checkpoint(), tmp_path / "model")
        (folder / "model.safetensors").unlink()
        with pytest.raises(ValueError, match=r"no \*.safetensors with an output head"):
            unloaded(str(folder))

    def test_answers_end_and_are_steered_as_its_generation_configuration_says(self, tmp_path):
        folder = shutil.copytree(checkpoint(), tmp_path / "model")
        path = folder / "generation_config.json"
        path.write_text(json.dumps({"eos_token_id": [2, 7], "repetition_penalty": 1.05, "suppress_tokens": [9]}))
        model, processor = unloaded(str(folder))
        told = greedy(family_of(model), 5)
        assert told["stop_token_ids"] == [2, 7]
        assert told["repetition_penalty"] == 1.05
        assert told["logit_bias"] == {4: -100.0, 9: -100.0}, "the placeholder, and what is suppressed"
        path.write_text(json.dumps({"eos_token_id": 2, "no_repeat_ngram_size": 3}))
        model, processor = unloaded(str(folder))
        with pytest.raises(ValueError, match="sets no_repeat_ngram_size"):
            Served(str(folder), model, processor, {"image": 1, "video": 0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "fastv"], "vLLM's KV cache holds as many tokens in each layer"),
        (["--methods", "full", "sample+fastv"], "fastv drops tokens between the LLM's layers"),
        (["--methods", "cdpruner"], "of the question it reads prompt_embeddings"),
        (["--methods", "metacompress"], "serve it with its weights"),
        (["--match", "average"], "inside the LLM, which vLLM does not run"),
        (["--device", "cpu"], "--device is not for --engine vllm"),
        (["--device-map", "auto"], "--device-map is not for --engine vllm: give --engine-options tensor_parallel_size"),
        (["--attention", "eager"], "give --engine-options attention_backend"),
        (["--quantize", "4bit"], "give --engine-options quantization"),
        (["--dtype", "float64"], "no dtype 'float64'"),
        (["--positions", "original"], "leave --positions out"),
        (["--video-scope", "frame"], "leave these options out"),
        (["--separators", "keep"], "leave these options out"),
        (["--engine-options", "dtype=half"], "--engine-options cannot set dtype"),
        (["--engine-options", "max_model_len"], "settings are written name=value"),
        (["--engine", "tgi"], "--engine is transformers or vllm, got 'tgi'"),
        (["--engine", "transformers", "--engine-options", "a=1"], "--engine-options are for --engine vllm"),
        (["--model", "embedded"], "does not read the embedded model's weights"),
        ([], "serving needs vLLM in the same environment"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    pinhole, scenes, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.setattr("pinhole.serving.command.find_spec", lambda name: None)
    methods = [] if "--methods" in arguments else ["--methods", "sample"]
    given = ["--engine", "vllm", "--model", MODEL, "--data", scenes, "--out", tmp_path / "out", *methods, *arguments]
    code, _, err = pinhole("eval", *given, "--quiet")
    assert (code, err.startswith("error: ")) == (1, True), err
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_served_is_refused_with_those_that_are(pinhole, scenes, tmp_path):
    zoo.model_of("gemma3").config.save_pretrained(tmp_path / "model")
    given = ["--engine", "vllm", "--model", tmp_path / "model", "--data", scenes, "--methods", "full"]
    code, _, err = pinhole("eval", *given, "--out", tmp_path / "out")
    assert (code, "'gemma3' cannot be served; types that can: llava, " in err) == (1, True)


def test_several_processes_are_refused(pinhole, scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    given = ["--engine", "vllm", "--model", MODEL, "--data", scenes, "--methods", "full", "--out", tmp_path / "out"]
    code, _, err = pinhole("eval", *given)
    assert (code, "start vLLM in one process" in err) == (1, True)


def test_benchmarks_of_lmms_eval_have_no_engine(pinhole, tmp_path):
    given = ["--engine", "vllm", "--model", MODEL, "--tasks", "lmms:mme", "--methods", "full", "--out", tmp_path]
    code, _, err = pinhole("eval", *given)
    assert (code, "--engine is for dialogues" in err) == (1, True)
