"""The XComposer-2.5 port.

The golden numbers are the public code's on the checkpoint that `write_original` makes: repository
InternLM/InternLM-XComposer at commit 0f70c3e3911189de1869396b4017714c31821e3a, folder
InternLM-XComposer-2.5-OmniLive/internlm-xcomposer2d5-ol-7b/base, run with transformers 4.40.0 and torch 2.13.0 in
float32, eager attention, after changing nothing but the widths it writes out as numbers (4096) and its downloads (a
font, CLIP's weights). Each picture went through `Image_transform`, `vis_processor` and `encode_img`, and the features
with `im_mask` through `forward`. The prompts are what `interleav_wrap_chat` hands to its tokenizer, cut at images.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AttentionInterface, DynamicCache, PreTrainedTokenizerFast
from transformers.generation import utils as generation
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models import xcomposer2_tiny as tiny
from pinhole.models.xcomposer2 import (
    XComposer2ForConditionalGeneration,
    XComposer2ImageProcessor,
    XComposer2Processor,
    count_tokens,
    load_original,
    token_layout,
)
from pinhole.models.xcomposer2.image_processing import fit_tiles
from pinhole.models.xcomposer2.tokenization import load_tokenizer

GOLDEN = Path(__file__).parent / "golden"
ROTARY = 1e-4
"""Rotary angles are computed in float32: equal relative positions at another offset differ by rounding."""


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def model():
    return tiny.tiny_xcomposer2()


@pytest.fixture(scope="module")
def sentencepiece_model():
    pytest.importorskip("sentencepiece")
    return tiny.train_tokenizer()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, sentencepiece_model):
    return tiny.write_original(tmp_path_factory.mktemp("original") / "xc", tokenizer=sentencepiece_model)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return load_original(checkpoint)


@pytest.fixture
def processor(loaded):
    """One with tiles of 16 pixels, so that prompts are short."""
    return XComposer2Processor(XComposer2ImageProcessor(tile_size=16, patch_size=4), loaded[1].tokenizer)


def rows_of(inputs):
    """Each row of a batch as inputs of its own, without padding."""
    images = iter(inputs["tile_grids"].tolist())
    taken = 0
    for padded, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        ids, grids, left = padded[mask.bool()], [], int((padded == tiny.IMAGE).sum())
        while left:
            grids.append(next(images))
            left -= count_tokens(*grids[-1], tiny.SIDE)
        views = sum(1 + h * w for h, w in grids)
        yield {
            "input_ids": ids[None],
            "attention_mask": torch.ones_like(ids)[None],
            "pixel_values": inputs["pixel_values"][taken : taken + views],
            "tile_grids": torch.tensor(grids),
        }
        taken += views


def encoded(model, inputs):
    """The inputs with the encoder's outputs in the pixels' stead."""
    output = model.model.get_image_features(inputs["pixel_values"], inputs["tile_grids"], return_dict=True)
    kept = {name: value for name, value in inputs.items() if name not in ("pixel_values", "tile_grids")}
    return {**kept, "mm_encoder_outputs": {"image": output}}


class TestLayout:
    def test_one_row_of_two_tiles(self):
        end = [-1, -1, -1]
        expected = [[0, 0, 0], [0, 0, 1], end, [0, 1, 0], [0, 1, 1], end, end]
        for row in range(2):
            expected += [[1, row, column] for column in range(4)] + [end]
        assert token_layout(1, 2, 2).tolist() == expected

    @pytest.mark.parametrize("grid", [(1, 1), (1, 3), (4, 1), (2, 3)])
    def test_every_place_is_there_once_in_raster_order(self, grid):
        rows, columns = grid
        layout = token_layout(*grid, 5)
        assert layout.shape == (count_tokens(*grid, 5), 3)
        for view, height, width in ((0, 5, 5), (1, rows * 5, columns * 5)):
            places = layout[layout[:, 0] == view, 1:].tolist()
            assert places == [[row, column] for row in range(height) for column in range(width)]

    def test_published_count(self, model):
        assert model.config.tokens_per_side == tiny.SIDE
        assert count_tokens(3, 2, 20) == (3 * 2 + 1) * 400 + 1 + (3 + 1) * 20

    @torch.no_grad()
    def test_the_features_lie_where_the_layout_says(self, model):
        """A tile's pixels move its own tokens and no others; marks are the projected parameters."""
        pixels = tiny.tiny_xcomposer2_inputs()["pixel_values"][:1].expand(1 + 6, -1, -1, -1)
        grids = torch.tensor([[2, 3]])
        changed = pixels.clone()
        changed[1 + 4] += 1.0
        before, after = (model.model.get_image_features(p, grids).pooler_output[0] for p in (pixels, changed))
        layout = token_layout(2, 3, tiny.SIDE)
        moved = layout[(before - after).abs().amax(1) > 1e-6].tolist()
        assert moved == [[1, row, column] for row in (2, 3) for column in (2, 3)]
        projector = model.model.multi_modal_projector
        for parameter, places in (
            (projector.row_end, [2, 5, 13]),
            (projector.view_end, [6]),
        ):
            mark = projector.linear_2(projector.act(projector.linear_1(parameter.flatten())))
            for place in places:
                assert layout[place].tolist() == [-1, -1, -1]
                close(before[place], mark)


class TestGolden:
    @pytest.mark.parametrize("name", list(tiny.golden_cases()))
    @torch.no_grad()
    def test_pixels_features_and_logits_are_those_of_the_public_code(self, loaded, name):
        model, processor = loaded
        golden = load_file(GOLDEN / "xcomposer2.safetensors")
        parts = tiny.golden_cases()[name]
        pictures = [tiny.picture(*part) for part in parts if isinstance(part, tuple)]
        images, counts = {}, iter(())
        if pictures:
            images = processor.image_processor(pictures, hd_num=6 if len(pictures) > 1 else 24, return_tensors="pt")
            counts = iter([count_tokens(*grid, 20) for grid in images["tile_grids"].tolist()])
        ids = []
        for part in parts:
            ids += [model.config.image_token_id] * next(counts) if isinstance(part, tuple) else part
        features = model.model.get_image_features(**images).pooler_output if pictures else []
        start = 0
        for i, x in enumerate(features):
            rows, columns = images["tile_grids"][i].tolist()
            tiles = images["pixel_values"][start + 1 : start + 1 + rows * columns].unflatten(0, (rows, columns))
            whole = tiles.permute(2, 0, 3, 1, 4).flatten()
            start += 1 + rows * columns
            assert torch.equal(whole[::4999], golden[f"{name}.pixels.{i}"])
            close(x[tiny.golden_rows(len(x))], golden[f"{name}.features.{i}"], 2e-5)
        logits = model(input_ids=torch.tensor([ids]), **images).logits[0]
        expected = golden[f"{name}.logits"]
        got = logits[tiny.golden_columns(len(ids))]
        assert (got - expected).norm() / expected.norm() < 1e-5

    @pytest.mark.parametrize("name", ["one", "one_meta", "history", "two", "text"])
    def test_prompts_are_those_of_the_public_code(self, processor, name):
        golden = json.loads((GOLDEN / "xcomposer2_prompts.json").read_text(encoding="utf-8"))[name]
        text = processor.apply_chat_template(
            golden["messages"], tokenize=False, add_generation_prompt=True, use_meta=golden["use_meta"]
        )
        assert text.split(processor.image_token) == golden["parts"]


class TestChatTemplate:
    IMAGE, WORDS = {"type": "image"}, {"type": "text", "text": "hi"}

    def render(self, processor, *messages, **more):
        return processor.apply_chat_template(list(messages), tokenize=False, **more)

    def test_a_later_turn_only_adds_to_the_earlier_ones(self, processor):
        first = {"role": "user", "content": [self.IMAGE, self.WORDS]}
        answer = {"role": "assistant", "content": [self.WORDS]}
        start = self.render(processor, first, add_generation_prompt=True)
        whole = self.render(processor, first, answer, first, add_generation_prompt=True)
        assert start == "<ImageHere>[UNUSED_TOKEN_146]user\nhi[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]assistant\n"
        assert whole.startswith(start)
        assert whole[len(start) :] == (
            "hi[UNUSED_TOKEN_145]\n[UNUSED_TOKEN_146]user\n<ImageHere>hi[UNUSED_TOKEN_145]\n"
            "[UNUSED_TOKEN_146]assistant\n"
        )

    def test_several_images_and_an_image_behind_words_stay_where_they_are(self, processor):
        for content, printed in (
            ([self.IMAGE, self.IMAGE, self.WORDS], "<ImageHere><ImageHere>hi"),
            ([self.WORDS, self.IMAGE], "hi<ImageHere>"),
            ("a <ImageHere> b", "a <ImageHere> b"),
        ):
            text = self.render(processor, {"role": "user", "content": content})
            assert text == f"[UNUSED_TOKEN_146]user\n{printed}[UNUSED_TOKEN_145]\n"

    def test_a_system_message_takes_the_default_instructions_place(self, processor):
        turns = [{"role": "system", "content": "Be short."}, {"role": "user", "content": [self.IMAGE]}]
        text = self.render(processor, *turns, use_meta=True)
        assert text.startswith("<ImageHere>[UNUSED_TOKEN_146]system\nBe short.[UNUSED_TOKEN_145]\n")

    def test_other_parts_are_refused(self, processor):
        with pytest.raises(Exception, match="not video"):
            self.render(processor, {"role": "user", "content": [{"type": "video"}]})


class TestTokenizer:
    def test_it_splits_as_sentencepiece_does(self, loaded, sentencepiece_model):
        import sentencepiece

        reference = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model)
        for text in [*tiny.SENTENCES, "  the  dog\n\tthe\u3000cat ", "浦语 👩 é", "[UNUSED_TOKEN_146]user\nIs there"]:
            ids = loaded[1].tokenizer(text, add_special_tokens=False).input_ids
            assert ids == reference.encode(text)
            assert loaded[1].tokenizer.decode(ids) == text

    def test_start_padding_and_marks(self, loaded):
        tokenizer = loaded[1].tokenizer
        assert tokenizer("a").input_ids[0] == tokenizer.bos_token_id == 1
        assert tokenizer.pad_token == "</s>"
        assert tokenizer.decode(tokenizer("the<ImageHere> dog").input_ids, skip_special_tokens=True) == "the dog"

    def test_without_sentencepiece_one_error_says_what_to_install(self, checkpoint, monkeypatch):
        monkeypatch.setitem(sys.modules, "sentencepiece", None)
        monkeypatch.delitem(sys.modules, "sentencepiece.sentencepiece_model_pb2", raising=False)
        with pytest.raises(ImportError, match="pip install sentencepiece protobuf"):
            load_original(checkpoint)

    def test_another_kind_of_model_is_refused(self, tmp_path, sentencepiece_model):
        from sentencepiece import sentencepiece_model_pb2

        proto = sentencepiece_model_pb2.ModelProto.FromString(sentencepiece_model)
        proto.normalizer_spec.add_dummy_prefix = True
        (tmp_path / "tokenizer.model").write_bytes(proto.SerializeToString())
        with pytest.raises(ValueError, match="no InternLM2 tokenizer"):
            load_tokenizer(tmp_path / "tokenizer.model")


class TestImages:
    @pytest.mark.parametrize(
        ("size", "hd_num", "tiles"),
        [
            ((512, 341), 24, (1, 1)),
            ((1462, 784), 24, (2, 3)),
            ((1200, 4679), 24, (8, 3)),
            ((4000, 3000), 24, (4, 5)),
            ((4000, 3000), 6, (2, 2)),
            ((100, 3000), 24, (6, 1)),
            ((7, 5), 24, (1, 1)),
            ((5000, 1), 6, (1, 6)),
        ],
    )
    def test_tiles(self, size, hd_num, tiles):
        """The public code's, but for the last, on which it fails."""
        assert fit_tiles(*size, hd_num, 560)[1] == tiles

    def test_a_number_below_one_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            fit_tiles(10, 10, 0, 560)

    def test_padding_is_white_below_or_to_the_right(self):
        images = XComposer2ImageProcessor(tile_size=16, patch_size=4)
        white = (1 - torch.tensor(images.image_mean)) / torch.tensor(images.image_std)
        for size, padding in (((16, 8), (slice(8, None), slice(None))), ((8, 16), (slice(None), slice(8, None)))):
            tile = images(Image.new("RGB", size, "black"), return_tensors="pt")["pixel_values"][1]
            close(tile[:, *padding].amin((1, 2)), white, 1e-6)
            assert (tile[:, :8, :8] < 0).all()

    def test_any_kind_of_picture(self):
        images = XComposer2ImageProcessor(tile_size=16, patch_size=4)
        picture = tiny.picture(40, 24)
        expected = images(picture, return_tensors="pt")
        array = np.asarray(picture)
        for other in (array, torch.from_numpy(array.copy()).permute(2, 0, 1), picture.convert("RGBA")):
            assert torch.equal(images(other, return_tensors="pt")["pixel_values"], expected["pixel_values"])
        assert images(picture.convert("L"), return_tensors="pt")["pixel_values"].shape == expected["pixel_values"].shape

    def test_one_number_for_each_image(self):
        images = XComposer2ImageProcessor(tile_size=16, patch_size=4)
        both = images([tiny.picture(64, 64)] * 2, hd_num=[4, 1], return_tensors="pt")
        assert both["tile_grids"].tolist() == [[2, 2], [1, 1]]
        with pytest.raises(ValueError, match="3 numbers for 2 images"):
            images([tiny.picture(64, 64)] * 2, hd_num=[4, 1, 1])


class TestProcessor:
    def test_placeholders_are_as_many_as_features(self, processor, loaded):
        pictures = [tiny.picture(*size) for size in ((90, 20), (64, 64), (64, 64), (20, 64))]
        prompts = ["<ImageHere>one", "a<ImageHere>b<ImageHere>c", "<ImageHere>"]
        inputs = processor(images=pictures, text=prompts, padding=True, padding_side="left", return_tensors="pt")
        assert inputs["tile_grids"].tolist() == [[2, 6], [2, 2], [2, 2], [4, 2]]
        counts = [count_tokens(*grid, 2) for grid in inputs["tile_grids"].tolist()]
        assert (inputs["input_ids"] == loaded[0].config.image_token_id).sum(1).tolist() == [
            counts[0],
            counts[1] + counts[2],
            counts[3],
        ]
        assert len(inputs["pixel_values"]) == sum(1 + h * w for h, w in inputs["tile_grids"].tolist())
        assert (inputs["attention_mask"][1:, 0] == 0).sum() >= 1

    def test_several_images_of_a_prompt_have_fewer_tiles_each(self, processor):
        square = tiny.picture(200, 200)
        alone = processor(images=square, text="<ImageHere>", return_tensors="pt")
        several = processor(images=[square] * 3, text=["<ImageHere><ImageHere>", "<ImageHere>"], padding=True)
        asked = processor(images=square, text="<ImageHere>", hd_num=9, return_tensors="pt")
        assert alone["tile_grids"].tolist() == [[4, 4]]
        assert np.asarray(several["tile_grids"]).tolist() == [[2, 2], [2, 2], [4, 4]]
        assert asked["tile_grids"].tolist() == [[3, 3]]

    def test_special_tokens_and_text_alone(self, processor):
        assert processor(text="a", add_special_tokens=False, return_tensors="pt")["input_ids"].shape == (1, 1)
        assert processor(text="a", return_tensors="pt")["input_ids"][0, 0] == 1

    def test_a_wrong_number_of_images_is_refused(self, processor):
        with pytest.raises(ValueError, match=r"2 image\(s\) for 1 mark"):
            processor(images=[tiny.picture(20, 20)] * 2, text="<ImageHere>")
        with pytest.raises(ValueError, match=r"0 image\(s\) for 1 mark"):
            processor(text="<ImageHere>")

    def test_round_trip(self, processor, tmp_path):
        processor.save_pretrained(tmp_path)
        again = XComposer2Processor.from_pretrained(tmp_path)
        assert isinstance(again.tokenizer, PreTrainedTokenizerFast)
        assert again.chat_template == processor.chat_template
        asked = {"images": [tiny.picture(40, 24)], "text": "<ImageHere>the dog", "return_tensors": "pt"}
        for name, value in processor(**asked).items():
            assert torch.equal(again(**asked)[name], value)


class TestLoadOriginal:
    @torch.no_grad()
    def test_bin_files_give_the_same_model(self, loaded, tmp_path, sentencepiece_model):
        folder = tiny.write_original(tmp_path / "xc", suffix="bin", tokenizer=sentencepiece_model)
        model, _ = load_original(folder)
        for (name, a), b in zip(loaded[0].state_dict().items(), model.state_dict().values(), strict=True):
            assert torch.equal(a, b), name

    def test_its_settings(self, loaded):
        model, processor = loaded
        assert not model.training
        assert model.dtype == torch.float32
        assert model.config.text_config.rope_parameters == {
            "rope_type": "dynamic",
            "rope_theta": 1000000.0,
            "factor": 2.0,
        }
        assert model.generation_config.eos_token_id == [
            2,
            processor.tokenizer.convert_tokens_to_ids("[UNUSED_TOKEN_145]"),
        ]
        assert model.generation_config.suppress_tokens == [model.config.image_token_id]
        assert model.generation_config.use_cache is not False

    def test_arguments_reach_from_pretrained(self, checkpoint):
        model, _ = load_original(checkpoint, dtype=torch.bfloat16, attn_implementation="eager")
        assert model.dtype == torch.bfloat16
        assert model.model.language_model.config._attn_implementation == "eager"

    @torch.no_grad()
    def test_saved_natively_it_is_the_same(self, loaded, tmp_path):
        model, processor = loaded
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        names = load_file(tmp_path / "model.safetensors")
        assert set(names) == set(model.state_dict())
        again = XComposer2ForConditionalGeneration.from_pretrained(tmp_path)
        ids = torch.tensor([[1, 30, 40]])
        assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
        assert again.generation_config.suppress_tokens == model.generation_config.suppress_tokens
        XComposer2Processor.from_pretrained(tmp_path)

    def test_missing_and_unexpected_weights_are_named(self, tmp_path, sentencepiece_model):
        weights = tiny.original_weights()
        del weights["model.layers.1.feed_forward.w2.Plora_B.weight"]
        weights["vision_proj.4.weight"] = torch.zeros(2)
        folder = tiny.write_original(tmp_path / "xc", weights, tokenizer=sentencepiece_model)
        with pytest.raises(ValueError, match=r"missing weights: .*layers\.1\.mlp\.down_proj\.lora_b") as error:
            load_original(folder)
        assert "unexpected weights: vision_proj.4.weight" in str(error.value)

    def test_what_is_not_read_may_be_there_or_not(self, tmp_path, sentencepiece_model):
        weights = tiny.original_weights()
        for name in list(weights):
            if "post_layernorm" in name:
                del weights[name]
        weights["video_mem_proj.0.weight"] = torch.zeros(2)
        weights["vit.vision_tower.vision_model.embeddings.position_ids"] = torch.arange(1601)[None]
        load_original(tiny.write_original(tmp_path / "xc", weights, tokenizer=sentencepiece_model))

    def test_other_folders_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"no .*config\.json"):
            load_original(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "llava"}')
        with pytest.raises(ValueError, match="model of type 'llava'"):
            load_original(tmp_path)

    @torch.no_grad()
    def test_a_vocabulary_without_a_spare_piece_grows_by_a_row(self, tmp_path):
        pytest.importorskip("sentencepiece")
        folder = tiny.write_original(tmp_path / "xc", tokenizer=tiny.train_tokenizer(spare=False))
        model, processor = load_original(folder)
        assert model.config.image_token_id == processor.image_token_id == 352
        assert model.lm_head.weight.shape[0] == model.get_input_embeddings().weight.shape[0] == 353
        inputs = processor(images=[tiny.picture(300, 280)], text="<ImageHere>the", return_tensors="pt")
        answer = model.generate(**inputs, max_new_tokens=2, do_sample=False, repetition_penalty=1.1)
        model.save_pretrained(tmp_path / "saved")
        again = XComposer2ForConditionalGeneration.from_pretrained(tmp_path / "saved")
        kept = again.generate(**inputs, max_new_tokens=2, do_sample=False, repetition_penalty=1.1)
        assert torch.equal(answer, kept)


class TestForward:
    @pytest.mark.parametrize(("side", "tolerance"), [("right", 1e-9), ("left", ROTARY)])
    @torch.no_grad()
    def test_a_batch_equals_its_rows_one_by_one(self, model, side, tolerance):
        inputs = tiny.tiny_xcomposer2_inputs(3, side)
        together = model(**inputs).logits
        for got, row in zip(together, rows_of(inputs), strict=True):
            alone = model(**row).logits[0]
            close(got[-len(alone) :] if side == "left" else got[: len(alone)], alone, tolerance)

    @torch.no_grad()
    def test_eager_equals_sdpa(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(3, "right")
        eager = tiny.tiny_xcomposer2()
        eager.set_attn_implementation("eager")
        real = inputs["attention_mask"].bool()
        close(eager(**inputs).logits[real], model(**inputs).logits[real], 5e-5)  # eager softmax is float32
        attentions = eager(**inputs, output_attentions=True, output_hidden_states=True)
        assert len(attentions.attentions) == 3
        assert len(attentions.hidden_states) == 4

    @torch.no_grad()
    def test_encoder_outputs_in_the_pixels_stead_change_no_bit(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(3)
        assert torch.equal(model(**inputs).logits, model(**encoded(model, inputs)).logits)

    @torch.no_grad()
    def test_a_registered_attention_sees_the_layers(self):
        model = tiny.tiny_xcomposer2()
        seen = []

        def attention(module, query, key, value, mask, **kwargs):
            seen.append((module.layer_idx, query.shape[1], key.shape[1], kwargs["scaling"]))
            return torch.zeros_like(query).transpose(1, 2), None

        AttentionInterface.register("xcomposer2_test", attention)
        try:
            model.model.language_model.set_attn_implementation("xcomposer2_test")
            model(input_ids=torch.tensor([[1, 5, 6]]))
        finally:
            del AttentionInterface._global_mapping["xcomposer2_test"]
        assert seen == [(layer, 4, 2, 8**-0.5) for layer in range(3)]

    @torch.no_grad()
    def test_partial_lora_acts_on_image_tokens_only(self):
        model, plain = tiny.tiny_xcomposer2(), tiny.tiny_xcomposer2()
        for name, parameter in plain.named_parameters():
            if "lora_b" in name:
                parameter.zero_()
        words = {"input_ids": torch.tensor([[1, 5, 6, 7]])}
        assert torch.equal(model(**words).logits, plain(**words).logits)
        inputs = tiny.tiny_xcomposer2_inputs()
        difference = (model(**inputs).logits - plain(**inputs).logits)[0].abs().amax(-1)
        first = int((inputs["input_ids"][0] == tiny.IMAGE).nonzero()[0])
        assert (difference[:first] == 0).all()
        assert (difference[first:] > 1e-3).all()

    @torch.no_grad()
    def test_a_shorter_run_of_placeholders_is_read_with_its_own_mask(self, model):
        """As `pinhole.compress` makes it: logits are those of embeddings put together by hand."""
        inputs = tiny.tiny_xcomposer2_inputs()
        whole = encoded(model, inputs)
        x = whole["mm_encoder_outputs"]["image"].pooler_output[0][[0, 3, 7]]
        ids = torch.tensor([[1, 9, tiny.IMAGE, tiny.IMAGE, tiny.IMAGE, 8]])
        output = whole["mm_encoder_outputs"]["image"]
        output.pooler_output = [x]
        logits = model(input_ids=ids, mm_encoder_outputs={"image": output}).logits
        embeds = model.get_input_embeddings()(ids)
        embeds[0, 2:5] = x
        by_hand = model(inputs_embeds=embeds, image_mask=ids == tiny.IMAGE).logits
        assert torch.equal(logits, by_hand)
        assert not torch.allclose(by_hand, model(inputs_embeds=embeds).logits)

    @torch.no_grad()
    def test_placeholders_are_known_by_their_embedding(self, model):
        inputs = encoded(model, tiny.tiny_xcomposer2_inputs(2))
        expected = model(**inputs).logits
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids"))
        assert torch.equal(model(**inputs).logits, expected)

    def test_mismatches_are_refused(self, model):
        inputs = tiny.tiny_xcomposer2_inputs()
        ids, pixels, grids = inputs["input_ids"], inputs["pixel_values"], inputs["tile_grids"]
        with pytest.raises(ValueError, match="12 image placeholders in the prompt for 13 visual tokens of 1 image"):
            model(input_ids=torch.tensor([[1] + [tiny.IMAGE] * 12]), pixel_values=pixels, tile_grids=grids)
        with pytest.raises(ValueError, match="13 image placeholders in the prompt for 0 visual tokens"):
            model(input_ids=ids)
        with pytest.raises(ValueError, match=r"has 2 views, tile_grids \[\(3, 1\)\] make 4"):
            model(input_ids=ids, pixel_values=pixels, tile_grids=torch.tensor([[3, 1]]))
        with pytest.raises(ValueError, match="come with tile_grids"):
            model(input_ids=ids, pixel_values=pixels)
        with pytest.raises(ValueError, match="not both"):
            model(**inputs, mm_encoder_outputs=encoded(model, inputs)["mm_encoder_outputs"])
        with pytest.raises(ValueError, match="exactly one"):
            model(attention_mask=inputs["attention_mask"])
        with pytest.raises(ValueError, match=r"image_mask is \(1, 2\) for tokens of \(1, 3\)"):
            model(input_ids=torch.tensor([[1, 5, 6]]), image_mask=torch.ones(1, 2, dtype=torch.bool))

    @torch.no_grad()
    def test_round_trip(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        again = XComposer2ForConditionalGeneration.from_pretrained(tmp_path)
        assert again.config.text_config.plora_rank == 4
        inputs = tiny.tiny_xcomposer2_inputs(2)
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
        assert again.generation_config.suppress_tokens == [tiny.IMAGE]

    def test_nothing_is_registered(self):
        assert "xcomposer2" not in CONFIG_MAPPING


class TestTraining:
    def test_labels_give_the_mean_loss_and_gradients_flow_to_every_part(self):
        model = tiny.tiny_xcomposer2()
        inputs = tiny.tiny_xcomposer2_inputs(2)
        labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == tiny.IMAGE, -100)
        labels[inputs["attention_mask"] == 0] = -100
        inputs["pixel_values"].requires_grad_()
        output = model(**inputs, labels=labels)
        expected = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].reshape(-1, tiny.VOCABULARY).float(), labels[:, 1:].reshape(-1), ignore_index=-100
        )
        close(output.loss.double(), expected.double(), 1e-5)
        output.loss.backward()
        assert inputs["pixel_values"].grad.abs().sum() > 0
        for name, parameter in model.named_parameters():
            if "post_layernorm" not in name or "language_model" in name:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0 or "k_proj.bias" in name, name

    def test_gradient_checkpointing_changes_no_gradient(self):
        def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
            model = tiny.tiny_xcomposer2().train()
            if checkpointing:
                enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
                enable({"use_reentrant": False})
            inputs = tiny.tiny_xcomposer2_inputs(2, "right")
            model(**inputs, labels=inputs["input_ids"], use_cache=False).loss.backward()
            return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

        plain, checkpointed = gradients(False), gradients(True)
        assert plain.keys() == checkpointed.keys()
        for name, value in plain.items():
            close(checkpointed[name], value)

    @torch.no_grad()
    def test_logits_to_keep(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(2)
        close(model(**inputs, logits_to_keep=2).logits, model(**inputs).logits[:, -2:])


class TestGenerate:
    @torch.no_grad()
    def test_the_cache_changes_nothing(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(3)
        answer = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        again = model.generate(**inputs, max_new_tokens=5, do_sample=False, use_cache=False)
        assert torch.equal(answer, again)
        length = inputs["input_ids"].shape[1]
        for row, said in zip(rows_of(inputs), answer[:, length:].tolist(), strict=True):
            for token in said:
                scores = model(**row).logits[0, -1]
                scores[tiny.IMAGE] = -torch.inf
                assert int(scores.argmax()) == token
                row["input_ids"] = torch.cat([row["input_ids"], torch.tensor([[token]])], 1)
                row["attention_mask"] = torch.ones_like(row["input_ids"])

    @pytest.mark.parametrize("beams", [1, 3])
    @torch.no_grad()
    def test_encoder_outputs_in_the_pixels_stead(self, model, beams):
        inputs = tiny.tiny_xcomposer2_inputs(3)
        asked = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams}
        assert torch.equal(model.generate(**inputs, **asked), model.generate(**encoded(model, inputs), **asked))

    @torch.no_grad()
    def test_beams_of_a_batch_are_those_of_its_rows(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(3)
        length = inputs["input_ids"].shape[1]
        asked = {"max_new_tokens": 4, "do_sample": False, "num_beams": 3}
        together = model.generate(**inputs, **asked)[:, length:]
        for answer, row in zip(together, rows_of(inputs), strict=True):
            assert torch.equal(model.generate(**row, **asked)[0, row["input_ids"].shape[1] :], answer)

    @torch.no_grad()
    def test_a_later_turn_with_another_image_equals_a_recomputation(self, model):
        first, second = tiny.tiny_xcomposer2_inputs(2), tiny.tiny_xcomposer2_inputs(2, seed=1)
        cache = DynamicCache(config=model.config.get_text_config(decoder=True))
        answer = model.generate(**first, max_new_tokens=3, do_sample=False, past_key_values=cache)
        ids = torch.cat([answer, second["input_ids"]], 1)
        mask = torch.cat([first["attention_mask"], torch.ones(2, 3, dtype=torch.long), second["attention_mask"]], 1)
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        asked = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "max_new_tokens": 4}
        continued = model.generate(
            **asked, **{k: second[k] for k in ("pixel_values", "tile_grids")}, past_key_values=cache, do_sample=False
        )
        features = [
            x
            for i in range(2)
            for turn in (first, second)
            for row in [list(rows_of(turn))[i]]
            for x in encoded(model, row)["mm_encoder_outputs"]["image"].pooler_output
        ]
        output = encoded(model, first)["mm_encoder_outputs"]["image"]
        output.pooler_output = features
        anew = model.generate(**asked, mm_encoder_outputs={"image": output}, do_sample=False)
        assert torch.equal(continued, anew)

    @pytest.mark.skipif(not hasattr(generation, "_slice_mm_encoder_output"), reason="transformers cuts no features")
    @torch.no_grad()
    def test_a_prompt_read_in_chunks(self, model):
        inputs = tiny.tiny_xcomposer2_inputs(2)
        asked = {"max_new_tokens": 4, "do_sample": False}
        assert torch.equal(
            model.generate(**encoded(model, inputs), **asked, prefill_chunk_size=7), model.generate(**inputs, **asked)
        )

    @torch.no_grad()
    def test_embeddings_that_hold_the_features_already(self, model):
        inputs = tiny.tiny_xcomposer2_inputs()
        places = inputs["input_ids"] == tiny.IMAGE
        embeds = model.get_input_embeddings()(inputs["input_ids"])
        embeds[places] = encoded(model, inputs)["mm_encoder_outputs"]["image"].pooler_output[0]
        answer = model.generate(inputs_embeds=embeds, image_mask=places, max_new_tokens=4, do_sample=False)
        expected = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        assert torch.equal(answer, expected[:, inputs["input_ids"].shape[1] :])

    @torch.no_grad()
    def test_placeholders_are_never_generated(self):
        model = tiny.tiny_xcomposer2()
        model.lm_head.weight[tiny.IMAGE] = 100 * model.lm_head.weight[17]
        inputs = tiny.tiny_xcomposer2_inputs()
        answer = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        assert tiny.IMAGE not in answer[0, inputs["input_ids"].shape[1] :]
