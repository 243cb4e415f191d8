from __future__ import annotations

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from pinhole.loading import load
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
