from __future__ import annotations

import fnmatch
import json
import shutil
import sys

import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration
from transformers.utils import is_bitsandbytes_available, is_kernels_available, is_torchvision_available

import checkpoints
from checkpoints import picture
from models import vila_original, xcomposer2_tiny
from pinhole import Chat, Sample, loading
from pinhole.data import read_dialogues
from pinhole.devices import input_device
from pinhole.loading import fingerprint, load
from pinhole.models.vila import VilaForConditionalGeneration, VilaProcessor
from pinhole.models.xcomposer2 import XComposer2ForConditionalGeneration, XComposer2Processor
from pinhole.processing import NoVideos
from pinhole.scenes.build import build_model, build_processor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint")
    build_model().to(torch.bfloat16).save_pretrained(path)
    build_processor().save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("dtype", "loaded"), [("auto", torch.bfloat16), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_folder_gives_a_model_to_evaluate_and_its_processor(folder, dtype, loaded):
    model, processor = load(str(folder), dtype=dtype, device="cpu")
    assert isinstance(model, LlavaForConditionalGeneration)
    assert not model.training
    assert model.dtype == loaded
    assert processor.chat_template == build_processor().chat_template


def test_a_home_folder_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    model, _ = load(f"~/{folder.name}", device="cpu")
    assert model.config.model_type == "llava"


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere"])
def test_a_folder_that_is_not_there_is_refused_without_asking_the_hub(name):
    with pytest.raises(ValueError, match=r"nowhere.*: give a checkpoint folder, a hub name, or 'embedded'"):
        load(name)


@pytest.mark.parametrize("dtype", ["float33", "Tensor"])
def test_a_dtype_that_does_not_exist_is_refused(folder, dtype):
    with pytest.raises(ValueError, match=f"no dtype '{dtype}'"):
        load(str(folder), dtype=dtype)


def test_an_empty_folder_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(ValueError, match="cannot load a vision-language model from"):
        load(str(tmp_path))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return checkpoints.write("qwen2_5_vl", tmp_path_factory.mktemp("qwen"), dtype=torch.float32)


@pytest.mark.parametrize("missing", ["no file", "no type"])
def test_a_config_that_names_no_model_is_refused(tmp_path, missing):
    if missing == "no type":
        (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot load a vision-language model from .*(config.json|model_type)"):
        load(str(tmp_path))


def test_code_that_comes_with_a_checkpoint_is_not_run(qwen, tmp_path):
    """Neither as a family of its own nor beside one that transformers has."""
    folder = shutil.copytree(qwen, tmp_path / "model")
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    names = {"AutoConfig": "code.C", "AutoModelForImageTextToText": "code.M", "AutoProcessor": "code.P"}
    for file in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, "auto_map": {**names, "AutoTokenizer": ["code.T", None]}}))
    model, processor = load(str(folder), device="cpu")
    assert type(model).__module__.startswith("transformers.")
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    assert not [name for name in sys.modules if "transformers_modules" in name and name.endswith("code")]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own_vl"}))
    with pytest.raises(ValueError, match="no support for models of type 'own_vl'"):
        load(str(folder), device="cpu")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_implementation_is_the_one_asked_for(qwen, attention):
    model, _ = load(str(qwen), device="cpu", attn_implementation=attention)
    assert model.config._attn_implementation == attention
    assert model.config.text_config._attn_implementation == attention


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cpu", "device_map": "auto"}, ValueError, "give a device or a device_map, not both; got 'cpu' and"),
        ({"attn_implementation": "fast"}, ValueError, "no attention implementation 'fast': give one of sdpa, eager, "),
        ({"quantization": "3bit"}, ValueError, "quantization is 4bit or 8bit, got '3bit'"),
    ],
)
def test_options_that_cannot_be_are_refused(qwen, options, error, message):
    with pytest.raises(error, match=message):
        load(str(qwen), **options)


@pytest.mark.skipif(is_kernels_available() or torch.cuda.is_available(), reason="FlashAttention may be here")
@pytest.mark.parametrize(
    ("name", "package"),
    [("flash_attention_2", "flash-attn"), ("flash_attention_3", "flash-attn-3"), ("kernels-community/any", "kernels")],
)
def test_attention_that_is_not_installed_says_what_to_install(qwen, name, package):
    with pytest.raises(ImportError, match=rf"{name} needs .*{package}.*take sdpa"):
        load(str(qwen), attn_implementation=name)


@pytest.mark.skipif(is_bitsandbytes_available(), reason="bitsandbytes is installed")
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_quantization_without_bitsandbytes_says_what_to_install(qwen, bits):
    message = rf"{bits} quantization needs bitsandbytes.*pip install 'pinhole-vlm\[quantization\]'"
    with pytest.raises(ImportError, match=message):
        load(str(qwen), quantization=bits)


@pytest.mark.skipif(not is_bitsandbytes_available(), reason="needs bitsandbytes")
@pytest.mark.parametrize(("bits", "kind"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")])
def test_quantized_weights_answer(embedded, scenes, bits, kind):
    dialogue = read_dialogues(scenes)[0]
    said = []
    for model, processor in (embedded, load("embedded", device="cpu", quantization=bits)):
        chat = Chat(model, processor, Sample(keep=0.5), max_new_tokens=4)
        said.append([chat.ask(t.question, None if i else dialogue.load_images()) for i, t in enumerate(dialogue.turns)])
    assert said[0] == said[1]
    layer = model.model.language_model.layers[0].mlp.up_proj
    assert type(layer).__name__ == kind
    assert kind in {type(module).__name__ for module in model.model.vision_tower.modules()}
    assert type(model.lm_head).__name__ == "Linear"
    if bits == "4bit":
        assert (layer.quant_state.quant_type, layer.compute_dtype) == ("nf4", torch.float32)


@pytest.mark.skipif(not is_bitsandbytes_available(), reason="needs bitsandbytes")
def test_weights_that_are_quantized_already_are_loaded_as_they_are(qwen, tmp_path):
    load(str(qwen), device="cpu", quantization="8bit")[0].save_pretrained(tmp_path)
    for file in qwen.iterdir():
        if not (tmp_path / file.name).exists():
            shutil.copy(file, tmp_path)
    with pytest.raises(ValueError, match=r"quantized already, with .*bitsandbytes.*: leave the quantization out"):
        load(str(tmp_path), device="cpu", quantization="4bit")
    model, _ = load(str(tmp_path), device="cpu")
    assert type(model.model.language_model.layers[0].mlp.up_proj).__name__ == "Linear8bitLt"


PARTS = {"model.visual": "cpu", "model.language_model.embed_tokens": "cpu", "lm_head": "cpu"}
SPREAD = {**PARTS, "model.language_model.layers": "disk", "model.language_model.norm": "disk"}
SPREAD["model.language_model.rotary_emb"] = "cpu"


@pytest.mark.parametrize("device_map", [{"": "cpu"}, "auto", SPREAD], ids=["one device", "auto", "disk"])
def test_a_model_that_is_spread_over_devices_answers_as_on_one(qwen, device_map):
    said = []
    for options in ({"device": "cpu"}, {"device_map": device_map}):
        model, processor = load(str(qwen), **options)
        chat = Chat(model, processor, Sample(keep=0.25))
        answers = [chat.ask("What colour is it?", [picture(0)], max_new_tokens=4), chat.ask("And?", max_new_tokens=4)]
        said.append((answers, fingerprint(model)))
    assert said[0] == said[1]
    if isinstance(device_map, dict) and "disk" in device_map.values():
        assert model.model.language_model.layers[0].mlp.up_proj.weight.device.type == "meta"


def test_ids_go_where_the_embeddings_are(qwen):
    model, _ = load(str(qwen), device="cpu")
    assert input_device(model).type == "cpu"
    model.model.visual.to("meta")
    assert model.device.type == "meta"
    assert input_device(model).type == "cpu"
    model.model.language_model.embed_tokens.to("meta")
    assert input_device(model).type == "cpu", "accelerate takes what it needs from there"


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_without_torchvision_the_processor_reads_images_with_the_checkpoints_own_settings(qwen, tmp_path):
    _, processor = load(str(qwen), device="cpu")
    assert isinstance(processor.video_processor, NoVideos)
    assert processor.image_processor.patch_size == 4
    assert processor.tokenizer.eos_token == "<|im_end|>"
    assert processor.chat_template == (qwen / "chat_template.jinja").read_text()
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2_5_VLProcessor"
    assert "video_processor" not in saved
    with pytest.raises((ImportError, ValueError), match=r"[Tt]orchvision"):
        AutoProcessor.from_pretrained(qwen)


ORIGINALS = {
    "vila": (vila_original.write_original, VilaForConditionalGeneration, VilaProcessor),
    "xcomposer2": (
        lambda folder: xcomposer2_tiny.write_original(folder, tokenizer=xcomposer2_tiny.train_tokenizer()),
        XComposer2ForConditionalGeneration,
        XComposer2Processor,
    ),
}


@pytest.mark.parametrize("port", ORIGINALS)
def test_a_port_is_loaded_from_the_published_layout_and_from_its_own(port, tmp_path):
    write, model_class, processor_class = ORIGINALS[port]
    write(tmp_path / "original")
    said = []
    for name in ("original", "saved"):
        model, processor = load(str(tmp_path / name), dtype="float32", device="cpu", attn_implementation="eager")
        assert isinstance(model, model_class)
        assert isinstance(processor, processor_class)
        assert not model.training
        assert (model.dtype, model.config._attn_implementation) == (torch.float32, "eager")
        chat = Chat(model, processor, Sample(keep=0.25))
        answers = [chat.ask("What is it?", [picture(0), picture(1)], max_new_tokens=3)]
        answers += [chat.ask("And here?", [picture(2)], max_new_tokens=3)]
        said.append((answers, [(r.n, r.m) for r in chat.reductions]))
        model.save_pretrained(tmp_path / "saved")
        processor.save_pretrained(tmp_path / "saved")
    assert said[0] == said[1]
    assert len(said[0][1]) == 3


def test_a_port_with_a_hub_name_is_downloaded_without_the_code_beside_it(tmp_path, monkeypatch):
    vila_original.write_original(tmp_path / "original")
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(tmp_path / "original")

    monkeypatch.setattr(loading, "snapshot_download", download)
    monkeypatch.setattr(loading, "_config_of", lambda name: {"model_type": "llava_llama"})
    model, _ = load("someone/vila", device="cpu")
    assert isinstance(model, VilaForConditionalGeneration)
    assert not [pattern for pattern in asked["someone/vila"] if fnmatch.fnmatch("code.py", pattern)]
    kept = ["llm/model-00001-of-00002.safetensors", "pytorch_model.bin", "llm/tokenizer.model", "config.json"]
    assert all(any(fnmatch.fnmatch(file, pattern) for pattern in asked["someone/vila"]) for file in kept)
