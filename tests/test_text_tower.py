"""CLIP's text tower against the whole CLIPModel, and the question that it reads against the words that were asked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import tiny_clip
from checkpoints import opened, picture
from pinhole import VisualTokens
from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.layout import Layout, View
from pinhole.text_tower import in_joint_space, question, text_tower
from pinhole.transcript import Transcript

ASKED = "What colour is the circle on the left?"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clip") / "clip"


@pytest.fixture(scope="module")
def clip(folder):
    return tiny_clip.write(folder)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The LVLM's tokenizer and chat template."""
    path = tmp_path_factory.mktemp("llava")
    opened("llava")[1].tokenizer.save_pretrained(path)
    return str(path)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosines(clip: hf.CLIPModel, folder: Path, states: torch.Tensor, text: str) -> list[float]:
    """One patch at a time, from the vision tower's states (n, c)."""
    read = hf.CLIPTokenizer.from_pretrained(folder)(text, truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        b = clip.get_text_features(**read).pooler_output[0].tolist()
        out = []
        for state in states:
            a = clip.visual_projection(clip.vision_model.post_layernorm(state)).tolist()
            dot, aa, bb = (sum(v * w for v, w in zip(*pair, strict=True)) for pair in ((a, b), (a, a), (b, b)))
            out.append(dot / math.sqrt(aa * bb))
    return out


def image(layout: Layout, ids: list[int], dtype: torch.dtype = torch.float64) -> VisualTokens:
    cues = {"encoder_output": random(layout.n, 24).to(dtype), "prompt_ids": torch.tensor(ids)}
    return VisualTokens(random(layout.n, 8, seed=1).to(dtype), layout, torch.zeros(1), cues)


class TestCosines:
    def test_they_equal_the_whole_model(self, clip, folder):
        pixels = random(2, 3, 48, 48)
        with torch.no_grad():
            output = clip.vision_model(pixels, output_hidden_states=True)
            whole = clip.get_image_features(pixels).pooler_output[1]
            assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
        tower = text_tower(str(folder), CPU, torch.float64)
        for states in (output.hidden_states[-2][0], output.hidden_states[-1][1]):
            for text in (ASKED, "", "red box"):
                expected = cosines(clip, folder, states, text)
                assert tower.cosines(states, text).tolist() == pytest.approx(expected, abs=1e-12)
                assert max(expected) - min(expected) > 0.1
        with torch.no_grad():  # and for [CLS], CLIP's own image embedding
            read = hf.CLIPTokenizer.from_pretrained(folder)(ASKED, return_tensors="pt")
            text = clip.get_text_features(**read).pooler_output[0]
        assert float(tower.cosines(output.hidden_states[-1][1, :1], ASKED)) == pytest.approx(
            float(torch.cosine_similarity(whole, text, dim=0)), abs=1e-12
        )

    def test_what_is_behind_77_tokens_is_cut_off(self, clip, folder):
        states, tower = random(5, 24), text_tower(str(folder), CPU, torch.float64)
        long = f"{ASKED} " * 20
        assert tower.cosines(states, long).tolist() == pytest.approx(cosines(clip, folder, states, long), abs=1e-12)
        assert torch.equal(tower.cosines(states, long), tower.cosines(states, long + "two red squares"))
        assert not torch.equal(tower.cosines(states, long), tower.cosines(states, "two red squares " + long))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
    def test_half_precision_is_compared_in_single_precision(self, clip, folder, words, dtype):
        ids = hf.AutoTokenizer.from_pretrained(words)(ASKED)["input_ids"]
        tokens = image(Layout.of(View(2, 3)), ids, dtype)
        got = in_joint_space(tokens, str(folder), words)
        assert got.dtype == torch.float32
        expected = cosines(clip, folder, tokens.cues["encoder_output"].double(), ASKED)
        assert got.tolist() == pytest.approx(expected, abs=1e-5)

    def test_weights_are_read_once_for_each_kind(self, clip, folder):
        tower = text_tower(str(folder), CPU, torch.float64)
        assert text_tower(str(folder), torch.device("cpu"), torch.float64) is tower
        assert text_tower(str(folder), CPU, torch.float32) is not tower

    @pytest.mark.usefixtures("clip")
    def test_separators_are_taken_for_the_patch_most_like_the_text(self, folder, words):
        layout = Layout.of(View(2, 2), 1, View(1, 2), 2)
        tokens = image(layout, [40, 41, 42])
        got = in_joint_space(tokens, str(folder), words)
        text = question(tokens.cues["prompt_ids"], words)
        expected = text_tower(str(folder), CPU, torch.float64).cosines(tokens.cues["encoder_output"], text)
        patches = ~layout.separators
        assert torch.equal(got[patches], expected[patches])
        assert got[~patches].tolist() == [float(expected[patches].max())] * 3
        nowhere = VisualTokens(tokens.x, Layout.of(9), tokens.pixels, tokens.cues)
        assert torch.equal(in_joint_space(nowhere, str(folder), words), expected)


class TestQuestion:
    @pytest.mark.parametrize("family", ["llava", "llava_next", "llava_next_video", "llava_onevision", "qwen2_vl"])
    def test_it_is_the_bare_question_for_any_chat_template(self, family, tmp_path):
        model, processor = opened(family)
        processor.tokenizer.save_pretrained(tmp_path)
        inputs = encode_turn(model, processor, [Transcript(processor).question(ASKED, 1)], [picture(0)])
        [visual] = family_of(model).encode(inputs, {"prompt_ids"})[0]
        assert question(visual.tokens.cues["prompt_ids"], str(tmp_path)).strip() == ASKED

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            (None, f"{ASKED} ASSISTANT:"),
            ("{{ messages[0].content + ' ASSISTANT:' }}", ASKED),
            ("{{ messages[0].content[0].text + ' assistant' }}", f"{ASKED} ASSISTANT:"),
            ("{{ raise_exception('no') }}", f"{ASKED} ASSISTANT:"),
            ("nothing that was said", f"{ASKED} ASSISTANT:"),
        ],
    )
    def test_words_stay_that_the_template_does_not_print(self, words, template, expected, tmp_path):
        tokenizer = hf.AutoTokenizer.from_pretrained(words)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path)
        ids = torch.tensor(tokenizer(f"{ASKED} ASSISTANT:</s>")["input_ids"])
        assert question(ids, str(tmp_path)).strip() == expected

    def test_a_question_may_hold_the_closing_words(self, words):
        ids = torch.tensor(
            hf.AutoTokenizer.from_pretrained(words)("Is this ASSISTANT: left? ASSISTANT: ASSISTANT:").input_ids
        )
        assert question(ids, words).strip() == "Is this ASSISTANT: left? ASSISTANT:"

    def test_no_tokenizer_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="cannot load a tokenizer from"):
            question(torch.tensor([4]), str(tmp_path))


class TestRefusals:
    def refused(self, folder: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            text_tower(str(folder), CPU, torch.float32)

    def test_no_checkpoint(self, tmp_path):
        self.refused(tmp_path / "none", "cannot load CLIP's text tower from .*none")

    @pytest.mark.parametrize("config", [hf.CLIPVisionConfig(), hf.SiglipConfig(), hf.LlavaConfig()])
    def test_no_clip(self, tmp_path, config):
        config.save_pretrained(tmp_path)
        self.refused(tmp_path, f"its type is '{config.model_type}', and both towers of a CLIP are needed")

    def test_weights_that_are_missing(self, tmp_path):
        tiny_clip.write(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        del weights["text_projection.weight"]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        self.refused(tmp_path, "lacks weights: text_projection.weight")

    def test_weights_in_a_pickle(self, tmp_path):
        clip = tiny_clip.write(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save(clip.state_dict(), tmp_path / "pytorch_model.bin")
        self.refused(tmp_path, "cannot load CLIP's text tower")

    def test_code_of_the_checkpoint_is_not_run(self, tmp_path):
        tiny_clip.write(tmp_path)
        config: dict[str, Any] = json.loads((tmp_path / "config.json").read_text())
        remote = {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config"}}
        (tmp_path / "config.json").write_text(json.dumps({**config, **remote}))
        (tmp_path / "code.py").write_text("raise SystemExit('ran')")
        self.refused(tmp_path, "cannot load CLIP's text tower")

    def test_another_width(self, tmp_path):
        tiny_clip.write(tmp_path)
        with pytest.raises(ValueError, match="has width 24, the model's encoder has 32: name the CLIP"):
            text_tower(str(tmp_path), CPU, torch.float64).cosines(random(4, 32), ASKED)
