"""Published checkpoints of VILA-1.5: what loading makes of them, against the public code, and what it refuses.

The golden numbers were made by golden/vila_make.py: NVlabs/VILA, commit 6b941da (branch vila1.5), transformers 4.36.2.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, SiglipVisionConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models.vila_original import CHECKPOINTS, GOLDEN, golden_pictures, write_original
from models.vila_tiny import picture
from pinhole.models.vila import (
    CHAT_TEMPLATES,
    VilaConfig,
    VilaForConditionalGeneration,
    VilaProcessor,
    load_original,
)

TEXTS = json.loads((GOLDEN / "vila.json").read_text(encoding="utf-8"))
NUMBERS = load_file(GOLDEN / "vila.safetensors")
PICTURES = {"square": ["square"], "wide": ["wide"], "tall": ["tall"], "two": ["wide", "tall"], "none": []}
CASES = [(kind, case) for kind, cases in TEXTS["prompts"].items() for case in cases if case != "dialogue"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vila")
    return {kind: write_original(root / kind, kind) for kind in CHECKPOINTS}


@pytest.fixture(scope="module")
def loaded(originals) -> dict[str, tuple[VilaForConditionalGeneration, VilaProcessor]]:
    return {kind: load_original(folder) for kind, folder in originals.items()}


@pytest.fixture
def copied(originals, tmp_path) -> Path:
    """A checkpoint that a test may damage."""
    return shutil.copytree(originals["vicuna"], tmp_path / "vicuna")


def change(path: Path, **settings) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal within 1e-5 of the largest number."""
    return bool((a - b).abs().max() < 1e-5 * b.abs().max())


def expanded(golden: list[int], model: VilaForConditionalGeneration) -> list[int]:
    """The public code's ids, with as many placeholders as features in place of its -200."""
    run = [model.config.image_token_id] * model.config.image_seq_length
    return [token for x in golden for token in (run if x == -200 else [x])]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_pixels_features_ids_and_logits_are_those_of_the_public_code(loaded, kind, case):
    model, processor = loaded[kind]
    images = [golden_pictures()[name] for name in PICTURES[case]]
    golden = TEXTS["prompts"][kind][case]
    inputs = processor(images=images or None, text=golden["text"], return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == expanded(golden["ids"], model)
    with torch.no_grad():
        logits = model(**inputs).logits[0]
        features = model.get_image_features(inputs["pixel_values"]).pooler_output if images else []
    wanted = NUMBERS[f"{kind}.{case}.logits"]
    assert close(logits[[len(logits) // 2, -8, -1], : wanted.shape[1]], wanted)
    if case == "two":
        for i, x in enumerate(features):
            assert torch.equal(inputs["pixel_values"][i, :, ::5, ::5], NUMBERS[f"{kind}.two.pixels.{i}"])
            assert close(x, NUMBERS[f"{kind}.two.features.{i}"])


@pytest.mark.parametrize("kind", ["vicuna", "llama_3"])
def test_ids_of_a_dialogue_are_those_of_the_public_code(loaded, kind):
    model, processor = loaded[kind]
    golden = TEXTS["prompts"][kind]["dialogue"]
    ids = processor(images=picture(9, 9), text=golden["text"])["input_ids"][0]
    assert ids == expanded(golden["ids"], model)


def test_the_tokenizers_own_legacy_flag_and_template_do_not_count(copied):
    change(copied / "llm" / "tokenizer_config.json", legacy=True, chat_template="{{ messages }}")
    model, processor = load_original(copied)
    golden = TEXTS["prompts"]["vicuna"]["dialogue"]
    ids = processor(images=picture(9, 9), text=golden["text"])["input_ids"][0]
    assert ids == expanded(golden["ids"], model)
    assert processor.tokenizer.chat_template is None


def test_tokenizer_model_gives_the_ids_of_the_public_code(copied):
    pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    (copied / "llm" / "tokenizer.json").unlink()
    shutil.copy(GOLDEN / "vila_tokenizer.model", copied / "llm" / "tokenizer.model")
    model, processor = load_original(copied)
    for golden in TEXTS["prompts"]["vicuna"].values():
        images = [picture(9, 9)] * golden["text"].count("<image>")
        ids = processor(images=images or None, text=golden["text"])["input_ids"][0]
        assert ids == expanded(golden["ids"], model)


def test_published_sizes_give_196_tokens():
    so400m = SiglipVisionConfig(image_size=384, patch_size=14)
    assert VilaConfig(vision_config=so400m).image_seq_length == 196
    assert VilaConfig(vision_config=so400m, projector_type="mlp2x_gelu").image_seq_length == 729
    with pytest.raises(ValueError, match="no projector 'resampler'"):
        VilaConfig(projector_type="resampler")


def test_the_new_row_is_a_mean_that_is_never_generated(originals, loaded):
    model, processor = loaded["vicuna"]
    before = load_file(originals["vicuna"] / "llm" / "model.safetensors")
    head, table = model.lm_head.weight, model.get_input_embeddings().weight
    image = model.config.image_token_id
    assert image == processor.image_token_id == len(head) - 1 == len(table) - 1
    for new, name in ((head, "lm_head.weight"), (table, "model.embed_tokens.weight")):
        assert torch.equal(new[:image], before[name])
        assert torch.allclose(new[image], before[name].mean(0))
    inputs = processor(images=picture(9, 9), text="<image>\nWho?", return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).logits.softmax(-1)[..., image].max() < 1 / len(head)
    assert model.generation_config.suppress_tokens == [image]
    answer = model.generate(**inputs, max_new_tokens=4, do_sample=False, repetition_penalty=1.3)
    assert image not in answer[0, -4:]


def test_settings_that_loading_decides(loaded):
    (vicuna, first), (llama_3, second) = loaded["vicuna"], loaded["llama_3"]
    assert first.chat_template == CHAT_TEMPLATES["vicuna_v1"]
    assert second.chat_template == CHAT_TEMPLATES["llama_3"]
    assert (first.image_processor.image_aspect_ratio, second.image_processor.image_aspect_ratio) == ("resize", "pad")
    ends = [second.tokenizer.convert_tokens_to_ids(x) for x in ("<|end_of_text|>", "<|eot_id|>")]
    assert (vicuna.generation_config.eos_token_id, llama_3.generation_config.eos_token_id) == ([2], ends)
    assert (first.tokenizer.padding_side, first.tokenizer.pad_token) == ("left", "<unk>")
    assert not vicuna.training


def test_keywords_reach_from_pretrained(originals):
    model, processor = load_original(
        originals["vicuna"], "llama_3_first", dtype=torch.bfloat16, attn_implementation="eager", device_map={"": "cpu"}
    )
    assert model.dtype == torch.bfloat16
    assert model.config.text_config._attn_implementation == "eager"
    assert processor.chat_template == CHAT_TEMPLATES["llama_3_first"]


def test_tied_head_is_read_from_the_table(copied):
    change(copied / "llm" / "config.json", tie_word_embeddings=True)
    file = copied / "llm" / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    model, _ = load_original(copied)
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_wrong_weights_are_named(copied):
    file = copied / "mm_projector" / "model.safetensors"
    weights = load_file(file)
    weights["layers.2.weight"] = weights["layers.2.weight"][:, 1:].contiguous()
    weights["layers.9.scale"] = weights.pop("layers.4.bias")
    save_file(weights, file)
    with pytest.raises(ValueError, match=r"not those of its config\.json") as error:
        load_original(copied)
    for what in (
        "missing: model.multi_modal_projector.layers.1.bias;",
        "unexpected: model.multi_modal_projector.layers.9.scale;",
        "of another shape: model.multi_modal_projector.layers.0.weight",
    ):
        assert what in str(error.value)
    file.unlink()
    with pytest.raises(ValueError, match=r"no weights in .*mm_projector"):
        load_original(copied)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("config.json", {"model_type": "llava_mpt"}, "model_type 'llava_mpt'"),
        ("config.json", {"s2": True}, "s2 True"),
        ("config.json", {"mm_use_im_start_end": True}, "mm_use_im_start_end"),
        ("config.json", {"mm_vision_select_feature": "patch"}, "only 'cls_patch'"),
        ("config.json", {"image_aspect_ratio": "anyres"}, "image_aspect_ratio 'anyres'"),
        ("vision_tower/config.json", {"model_type": "intern_vit_6b"}, "intern_vit_6b.*VILA1.5-40b"),
        ("llm/config.json", {"model_type": "mixtral"}, "llm model_type 'mixtral'"),
        ("mm_projector/config.json", {"mm_projector_type": "abstractor"}, "no projector 'abstractor'"),
    ],
)
def test_other_models_are_refused(copied, file, settings, message):
    change(copied / file, **settings)
    with pytest.raises(ValueError, match=message):
        load_original(copied)


def test_what_is_not_there_is_said(copied, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="give the folder of a VILA"):
        load_original(tmp_path)
    with pytest.raises(ValueError, match="no conversation format 'v0': give one of vicuna_v1, llama_3"):
        load_original(copied, conversation="v0")
    monkeypatch.setattr("pinhole.models.vila.original.is_sentencepiece_available", lambda: False)
    (copied / "llm" / "tokenizer.json").unlink()
    with pytest.raises(ImportError, match="pip install sentencepiece protobuf"):
        load_original(copied)


def test_save_and_load_round_trip_without_registration(loaded, tmp_path):
    model, processor = loaded["llama_3"]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, words = VilaForConditionalGeneration.from_pretrained(tmp_path), VilaProcessor.from_pretrained(tmp_path)
    assert "vila" not in CONFIG_MAPPING
    assert isinstance(again.config.text_config, LlamaConfig)
    assert again.config.get_text_config(decoder=True) is again.config.text_config
    assert again.generation_config.to_dict() == model.generation_config.to_dict()
    assert words.to_dict() == processor.to_dict()
    assert words.chat_template == processor.chat_template
    asked = {"images": picture(30, 20), "text": TEXTS["prompts"]["llama_3"]["square"]["text"], "return_tensors": "pt"}
    first, second = processor(**asked), words(**asked)
    with torch.no_grad():
        assert torch.equal(model(**first).logits, again(**second).logits)
