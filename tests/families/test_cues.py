"""Every cue against eager attention, tile by tile and patch by patch, and the model as it was before."""

from __future__ import annotations

import copy
import functools
import re
import sys
from typing import Any

import pytest
import torch
import transformers as hf
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import zoo
from eager import Tower, eager, encoder_cue
from pinhole import Session, compress
from pinhole.families import cues, family_of
from pinhole.families.first_layer import PROMPT_CUES
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from zoo import model_of
from zoo.parts import IMAGE, randomized, text
from zoo.parts import tower as encoder_config

PATCHES = {"received_attention", "encoder_keys", "encoder_output"}
CLS = {"cls_attention", "cls_attention_joint"} | PATCHES
WORDS = {"prompt_ids", "prompt_embeddings"}


def and_next(names: set[str]) -> set[str]:
    return names | {f"{name}+1" for name in names}


PROVIDED = {
    "vila": and_next(PATCHES),
    "xcomposer2": CLS,
    "llava": and_next(CLS),
    "llava_next": and_next(CLS),
    "llava_next_video": and_next(CLS),
    "llava_onevision": PATCHES,
    "qwen2_vl": PATCHES,
    "qwen2_5_vl": PATCHES,
    "qwen3_vl": PATCHES,
    "qwen3_vl_moe": PATCHES,
    "glm4v": PATCHES,
    "glm46v": PATCHES,
    "glm4v_moe": PATCHES,
    "internvl": CLS,
}
FROM_PROMPT = PROMPT_CUES | {"attention@1", "attention@2", "attention@3"}
"""Of the zoo's LLMs, which have four layers."""
CASES = [(name, modality) for name in PROVIDED for modality in zoo.ZOO[name].modalities]
EVERY_CASE = [(name, modality) for name, animal in zoo.ZOO.items() for modality in animal.modalities]
cases = pytest.mark.parametrize(("name", "modality"), CASES)
every_case = pytest.mark.parametrize(("name", "modality"), EVERY_CASE)


@functools.cache
def eager_of(name: str) -> Any:
    return eager(model_of(name))


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=tolerance)


def encoded(model: Any, inputs: dict, needs: set[str] | frozenset[str]) -> list:
    with torch.no_grad():
        return family_of(model).encode(inputs, needs)[0]


def joined(visuals: list, cue: str) -> torch.Tensor:
    values = torch.cat([visual.tokens.cues[cue] for visual in visuals])
    return values.reshape(len(values), -1)


class TestValues:
    @pytest.mark.parametrize("seed", range(5))
    @cases
    def test_encoder_cues_equal_eager_attention(self, name, modality, seed):
        model = model_of(name)
        inputs = zoo.row(name, model, modality, seed, count=1 + seed // 3)
        visuals = encoded(model, inputs, PROVIDED[name])
        for cue in PROVIDED[name]:
            close(joined(visuals, cue), encoder_cue(name, eager_of(name), inputs, cue))

    @cases
    def test_cues_in_float32_equal_eager_attention(self, name, modality):
        model = zoo.ZOO[name].build(dtype=torch.float32)
        inputs = zoo.row(name, model, modality, dtype=torch.float32)
        visuals, plain = encoded(model, inputs, PROVIDED[name]), eager(model)
        for cue in PROVIDED[name]:
            tolerance = (
                5e-6 if cue.startswith("encoder_") else 1e-6
            )  # keys and states are not shares: rounding is of their size
            close(joined(visuals, cue), encoder_cue(name, plain, inputs, cue), tolerance)

    @pytest.mark.parametrize("count", [1, 2])
    @every_case
    def test_attention_of_the_prompt_equals_eager_attention_of_the_whole_prompt(self, name, modality, count):
        model = model_of(name)
        inputs = zoo.row(name, model, modality, 3, count)
        visuals = encoded(model, inputs, FROM_PROMPT)
        token = family_of(model).token_id(modality)
        places = (inputs["input_ids"][0] == token).nonzero()[:, 0].tolist()
        asked = list(range(places[-1] + 1, inputs["input_ids"].shape[1]))
        with torch.no_grad():
            layers = eager_of(name)(**inputs, output_attentions=True).attentions
        for cue, layer in {"first_layer_attention": 0, "attention@1": 1, "attention@3": 3}.items():
            maps = layers[layer][0].mean(0)
            expected = torch.stack([torch.stack([maps[row, place] for row in asked]) for place in places])
            close(joined(visuals, cue), expected)
        words = inputs["input_ids"][0, asked]
        for visual in visuals:
            assert torch.equal(visual.tokens.cues["prompt_ids"], words)
            assert torch.equal(visual.tokens.cues["prompt_embeddings"], model.get_input_embeddings()(words))

    @pytest.mark.parametrize("side", ["left", "right"])
    @every_case
    def test_cues_do_not_depend_on_the_batch(self, name, modality, side):
        model = model_of(name)
        family = family_of(model)
        rows = zoo.rows(name, model, modality, batch=3)
        together = encoded(model, zoo.together(rows, side), family.provides)
        alone = [visual for row in rows for visual in encoded(model, row, family.provides)]
        assert len(together) == len(alone) == 4
        for a, b in zip(together, alone, strict=True):
            assert a.tokens.cues.keys() == b.tokens.cues.keys() == family.provides
            for cue in family.provides:
                assert a.tokens.cues[cue].shape == b.tokens.cues[cue].shape
                close(a.tokens.cues[cue], b.tokens.cues[cue])

    @every_case
    def test_shapes_and_kinds_are_as_announced(self, name, modality):
        model = model_of(name)
        inputs = zoo.row(name, model, modality, 1, 2)
        plain = encoded(model, inputs, set())
        for visual, before in zip(encoded(model, inputs, family_of(model).provides), plain, strict=True):
            assert torch.equal(visual.tokens.x, before.tokens.x)
            assert before.tokens.cues == {}
            n, d = visual.tokens.x.shape
            for cue, values in visual.tokens.cues.items():
                attention = "attention" in cue
                if cue == "prompt_ids":
                    assert (values.dtype, values.dim()) == (torch.int64, 1)
                    continue
                assert values.dtype == (torch.float32 if attention else model.dtype)
                assert len(values) == n if cue != "prompt_embeddings" else values.shape[1] == d
                assert values.dim() == (3 if "keys" in cue else 1 if attention and cue not in FROM_PROMPT else 2)
                if attention:
                    assert values.min() >= 0
                    assert values.max() <= 1

    def test_attention_from_the_class_token_to_the_patches_of_a_tile_is_a_share(self):
        model = model_of("llava")
        for visual in encoded(model, zoo.row("llava", model, count=2), PROVIDED["llava"]):
            for cue, values in visual.tokens.cues.items():
                if cue.startswith("cls"):
                    assert 0 < float(values.sum()) < 1

    @pytest.mark.parametrize("modality", ["image", "video"])
    def test_newlines_have_zeros_and_patches_have_not(self, modality):
        for name in ("llava_next_video", "llava_onevision"):
            model = model_of(name)
            [visual] = encoded(model, zoo.row(name, model, modality, 1), PROVIDED[name])
            newlines = visual.tokens.layout.separators
            assert newlines.any() != (name == "llava_next_video" and modality == "video")
            for values in visual.tokens.cues.values():
                assert (values[newlines] == 0).all()
                assert (
                    values[~newlines].flatten(1 - (values.dim() == 1)).abs().reshape(int((~newlines).sum()), -1).sum(-1)
                    > 0
                ).all()

    def test_few_queries_at_a_time_receive_the_same_attention(self, monkeypatch):
        model = model_of("qwen2_vl")
        inputs = zoo.row("qwen2_vl", model, "video")
        at_once = joined(encoded(model, inputs, PATCHES), "received_attention")
        monkeypatch.setattr(cues, "_WEIGHTS_AT_ONCE", 100)
        close(joined(encoded(model, inputs, PATCHES), "received_attention"), at_once, 1e-7)

    def test_grouped_heads_and_a_mask(self):
        generator = torch.Generator().manual_seed(0)
        query, key = torch.randn(1, 4, 3, 5, generator=generator), torch.randn(1, 2, 3, 5, generator=generator)
        visible = torch.ones(3, 3).tril().bool()
        weights = cues.Call(query, key, 0.3).weights(visible)[0]
        for head in range(4):
            for row in range(3):
                scores = torch.tensor([0.3 * float(query[0, head, row] @ key[0, head // 2, j]) for j in range(row + 1)])
                close(weights[head, row], torch.cat([scores.softmax(0), torch.zeros(2 - row)]))

    def test_cues_bring_no_gradients(self):
        model = model_of("llava")
        [visual] = family_of(model).encode(zoo.row("llava", model), family_of(model).provides)[0]
        assert visual.tokens.x.requires_grad
        assert not any(values.requires_grad for values in visual.tokens.cues.values())


class TestUndo:
    @staticmethod
    def state(model: Any) -> list:
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
        configs = [m.config for m in model.modules() if "config" in m.__dict__]
        return [hooks, [(id(config), config._attn_implementation) for config in configs]]

    @every_case
    def test_the_model_is_as_before(self, name, modality):
        model = model_of(name)
        inputs = zoo.row(name, model, modality)
        with torch.no_grad():
            logits = model(**inputs).logits
            kernels, before = set(ALL_ATTENTION_FUNCTIONS), self.state(model)
            encoded(model, inputs, family_of(model).provides)
            assert self.state(model) == before
            assert set(ALL_ATTENTION_FUNCTIONS) == kernels
            assert torch.equal(model(**inputs).logits, logits)

    @cases
    def test_the_model_is_as_before_after_an_error_in_the_encoder(self, name, modality, monkeypatch):
        model = model_of(name)
        inputs = zoo.row(name, model, modality)
        before, sdpa, family = self.state(model), ALL_ATTENTION_FUNCTIONS["sdpa"], family_of(model)
        failing = family.encoder({}).attentions[family.encoder({}).layer]

        def fail(module: Any, *args: Any, **kwargs: Any) -> Any:
            if module is failing:
                raise RuntimeError("inside")
            return sdpa(module, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", fail)
            with pytest.raises(RuntimeError, match="inside"):
                encoded(model, inputs, family.provides)
        assert self.state(model) == before
        assert not [name for name in ALL_ATTENTION_FUNCTIONS if "pinhole" in name]
        encoded(model, inputs, family.provides)

    def test_an_error_in_front_of_the_first_layer_is_not_mistaken(self, monkeypatch):
        model = model_of("llava")
        before = self.state(model)
        monkeypatch.setattr(model.model.language_model.layers[0].input_layernorm, "forward", lambda x: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encoded(model, zoo.row("llava", model), PROMPT_CUES)
        assert self.state(model) == before

    @every_case
    def test_every_layer_goes_on_with_its_own_kernel(self, name, modality, monkeypatch):
        """Not one eager call, and a kernel that reads the implementation from the module's config finds its own."""
        model = model_of(name)
        inputs = zoo.row(name, model, modality)
        sdpa, called = ALL_ATTENTION_FUNCTIONS["sdpa"], []

        def kernel(module: Any, *args: Any, **kwargs: Any) -> Any:
            called.append((module, module.config._attn_implementation))
            return sdpa(module, *args, **kwargs)

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "sdpa", kernel)
        for module in {type(part).__module__ for part in model.modules()}:
            if hasattr(sys.modules[module], "eager_attention_forward"):
                monkeypatch.setattr(sys.modules[module], "eager_attention_forward", None)
        encoded(model, inputs, set())
        plain = list(called)
        called.clear()
        encoded(model, inputs, (family_of(model).provides - FROM_PROMPT) | PROMPT_CUES)
        assert called == plain
        called.clear()
        encoded(model, inputs, {"attention@2"})
        before = [layer.self_attn for layer in family_of(model).language_model.layers[:2]]
        assert called == plain + [(attention, "sdpa") for attention in before]
        assert {implementation for _, implementation in called} <= {"sdpa"}  # some encoders have attention of their own

    @pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
    def test_kernels_for_sequences_of_many_lengths_go_on_too(self, name, monkeypatch):
        """FlashAttention's way into Qwen's encoder: one call for all images, with their lengths."""
        model = copy.deepcopy(model_of(name))
        inputs = zoo.row(name, model, "image", 1, 2)
        expected = encoded(model, inputs, PATCHES)
        sdpa, ways = ALL_ATTENTION_FUNCTIONS["sdpa"], []

        def kernel(module: Any, *states: torch.Tensor, cu_seq_lens_q: Any = None, **kwargs: Any) -> Any:
            assert module.config._attn_implementation == "test_flash"
            ways.append(cu_seq_lens_q is not None)
            query, key, value = states[:3]
            lengths = [query.shape[2]] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
            pieces = zip(*(state.split(lengths, 2) for state in (query, key, value)), strict=True)
            settings = {"attention_mask": None, "scaling": kwargs["scaling"], "is_causal": False}
            return torch.cat([sdpa(module, *piece, **settings)[0] for piece in pieces], 1), None

        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "test_flash", kernel)
        model.model.visual.config._attn_implementation_internal = "test_flash"
        for a, b in zip(encoded(model, inputs, PATCHES), expected, strict=True):
            close(a.tokens.x, b.tokens.x)
            for cue in PATCHES:
                close(a.tokens.cues[cue], b.tokens.cues[cue])
        assert set(ways) == {True, False}


class TestProvided:
    @pytest.mark.parametrize("name", zoo.ZOO)
    def test_each_family_says_what_it_gives(self, name):
        assert family_of(model_of(name)).provides == PROVIDED.get(name, set()) | FROM_PROMPT

    def llava(self, **config: Any) -> Any:
        vision = config.pop("vision", None) or encoder_config(hf.CLIPVisionConfig)
        config = {"text_config": text(), "image_token_index": IMAGE, "vision_feature_layer": -2, **config}
        return randomized(
            hf.LlavaForConditionalGeneration, hf.LlavaConfig(vision_config=vision, **config), 0, torch.float64
        )

    @pytest.mark.parametrize(
        ("layer", "expected"),
        [(-1, CLS), (3, CLS), (2, and_next(CLS)), (1, and_next(CLS)), (0, set()), (-4, set()), ([-2, -1], set())],
    )
    def test_what_a_llava_gives_follows_its_feature_layer(self, layer, expected):
        model = self.llava(vision_feature_layer=layer)
        assert family_of(model).provides == expected | FROM_PROMPT
        if expected:
            inputs = zoo.row("llava", model)
            number = {-1: 2}.get(layer, layer - 1)
            [visual] = encoded(model, inputs, expected)
            tower = Tower(eager(model), number)
            for cue in expected:
                close(joined([visual], cue), tower.patches(inputs["pixel_values"][0], cue))

    def test_a_llava_without_a_class_token(self):
        model = self.llava(
            vision=encoder_config(hf.SiglipVisionConfig, vision_use_head=False), vision_feature_select_strategy="full"
        )
        inputs = zoo.row("llava", model)
        assert family_of(model).provides == and_next(PATCHES) | FROM_PROMPT
        [visual] = encoded(model, inputs, and_next(PATCHES))
        tower = Tower(eager(model), 1, class_token=False)
        for cue in and_next(PATCHES):
            close(joined([visual], cue), tower.patches(inputs["pixel_values"][0], cue))

    def test_an_encoder_whose_attention_is_not_known_leaves_the_cues_of_the_prompt(self):
        model = self.llava(
            vision=hf.PixtralVisionConfig(
                hidden_size=24,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                head_dim=6,
                image_size=48,
                patch_size=12,
            )
        )
        assert family_of(model).provides == FROM_PROMPT
        inputs = {**zoo.row("llava", model), "image_sizes": torch.tensor([[48, 48]])}
        with pytest.raises(ValueError, match="does not give encoder_keys"):
            encoded(model, inputs, {"encoder_keys"})

    def test_a_layer_chosen_in_the_inputs_counts(self):
        model = model_of("llava")
        inputs = {**zoo.row("llava", model), "vision_feature_layer": -1}
        [visual] = encoded(model, inputs, CLS)
        for cue in CLS:
            close(joined([visual], cue), Tower(eager_of("llava"), 2).patches(inputs["pixel_values"][0], cue))
        with pytest.raises(ValueError, match=r"does not give encoder_keys\+1"):
            encoded(model, inputs, {"encoder_keys+1"})

    def test_a_class_token_that_the_llm_reads_has_its_own(self):
        model = self.llava(vision_feature_select_strategy="full", image_seq_length=17)
        inputs = zoo.row("llava", model)
        place = int((inputs["input_ids"][0] == IMAGE).nonzero()[0, 0])
        for key, value in (("input_ids", IMAGE), ("attention_mask", 1)):
            inputs[key] = torch.cat([inputs[key][:, :place], torch.tensor([[value]]), inputs[key][:, place:]], 1)
        [visual] = encoded(model, inputs, {"cls_attention"})
        values = joined([visual], "cls_attention")
        assert len(values) == 17
        close(values.sum(), torch.tensor(1.0))

    def test_a_window_in_the_first_layer_bounds_the_attention(self):
        model = self.llava(text_config=text(hf.MistralConfig, sliding_window=12))
        inputs = zoo.row("llava", model)
        [visual] = encoded(model, inputs, PROMPT_CUES)
        with torch.no_grad():
            maps = eager(model)(**inputs, output_attentions=True).attentions[0][0].mean(0)
        values = visual.tokens.cues["first_layer_attention"]
        close(values, maps[-values.shape[1] :, visual.columns].T)
        assert (values == 0).any()

    @pytest.mark.parametrize("modality", ["image", "video"])
    def test_windows_in_the_last_layer_bound_the_attention(self, modality):
        model = zoo.ZOO["qwen2_5_vl"].build()
        model.model.visual.fullatt_block_indexes = [0]
        inputs = zoo.row("qwen2_5_vl", model, modality, 1, 2)
        visuals, plain = encoded(model, inputs, PATCHES), eager(model)
        for cue in PATCHES:
            close(joined(visuals, cue), encoder_cue("qwen2_5_vl", plain, inputs, cue))
        full = joined(encoded(model_of("qwen2_5_vl"), inputs, PATCHES), "received_attention")
        assert (joined(visuals, "received_attention") - full).abs().max() > 1e-3

    def test_a_row_that_ends_with_its_image_has_no_question(self):
        model = model_of("llava")
        inputs = zoo.row("llava", model)
        end = int((inputs["input_ids"][0] == IMAGE).nonzero()[-1, 0]) + 1
        cut = {**inputs, "input_ids": inputs["input_ids"][:, :end], "attention_mask": inputs["attention_mask"][:, :end]}
        with pytest.raises(ValueError, match="row 0 of the batch ends with its image"):
            encoded(model, cut, {"prompt_embeddings"})
        assert len(encoded(model, cut, {"cls_attention"})) == 1


class Top(TrainingFree):
    """Keep the tokens of which one cue has most."""

    name = "top"
    paper = "of these tests"
    cue = ""

    def reduce(self, image):
        values = image.cues[self.cue]
        assert self.cue in WORDS or len(values) == image.n
        if self.cue == "prompt_ids":
            score = image.x @ torch.cos(values.double().sum() + torch.arange(image.x.shape[1])).to(image.x)
        elif self.cue == "prompt_embeddings":
            score = image.x @ values.mean(0)
        else:
            score = values.reshape(image.n, -1).sum(-1)
        return Reduction.select(score.topk(self.count(image.n)).indices.sort().values, image.n)


def top(cue: str, keep: float = 0.25) -> Top:
    return type("Top", (Top,), {"cue": cue, "needs": frozenset({cue})})(keep)


class TestMethods:
    @every_case
    def test_a_method_that_needs_a_cue_runs_where_there_is_one(self, name, modality):
        model = model_of(name)
        family = family_of(model)
        inputs = zoo.together(zoo.rows(name, model, modality, batch=2))
        for cue in sorted(family.provides):
            method = top(cue)
            expected = [method.reduce(visual.tokens) for visual in encoded(model, inputs, {cue})]
            with compress(model, method) as compression, torch.no_grad():
                model(**inputs)
                assert [r.indices.tolist() for r in compression.reductions] == [r.indices.tolist() for r in expected]
            session = Session(model, method)
            session.ask(inputs, max_new_tokens=2, do_sample=False)
            session.ask(zoo.words(3, 5, batch=2), max_new_tokens=2, do_sample=False)
            assert [r.indices.tolist() for r in session.reductions] == [r.indices.tolist() for r in expected]

    @pytest.mark.parametrize("name", [name for name, modality in EVERY_CASE if modality == "video"])
    def test_frame_by_frame_each_frame_brings_its_own_part(self, name):
        model = model_of(name)
        inputs = zoo.row(name, model, "video")
        for cue in sorted(family_of(model).provides):
            [visual] = encoded(model, inputs, {cue})
            with compress(model, top(cue), video="frame") as compression, torch.no_grad():
                model(**inputs)
            frames = visual.tokens.layout.frames
            kept = [
                torch.arange(visual.tokens.n)[part][top(cue).reduce(visual.tokens.take(part)).indices]
                for part in (torch.arange(visual.tokens.n)[frames == frame] for frame in frames.unique())
            ]
            assert compression.reductions[0].indices.tolist() == torch.cat(kept).tolist()

    @pytest.mark.parametrize("name", PROVIDED)
    def test_it_is_refused_where_there_is_none(self, name):
        model = model_of(name)
        for cue in and_next(CLS) - family_of(model).provides | {"colour"}:
            for use in (compress, Session):
                refusal = re.escape(f"top needs {cue}, which models of type {name!r} do not give")
                with pytest.raises(ValueError, match=refusal):
                    use(model, top(cue))
