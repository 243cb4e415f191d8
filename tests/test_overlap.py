"""`pinhole overlap` from dialogues to overlaps and pictures, against eager attention."""

from __future__ import annotations

import copy
import functools
import json

import pytest
import torch
from PIL import Image

from checkpoints import opened, picture
from pinhole import overlap
from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.encoding import encode_turn
from pinhole.evaluation.evaluate import Names
from pinhole.evaluation.overlap import cues_of, first_look
from pinhole.families import family_of
from pinhole.overlap import Decided, Fitted, compare
from pinhole.reduction import Reduction
from pinhole.registry import MethodSpec
from pinhole.scope import Scope
from pinhole.training.fit import fit_reduction
from pinhole.transcript import Transcript
from pinhole.view.look import look


@pytest.fixture
def command(pinhole, scenes):
    return functools.partial(pinhole, "overlap", "--data", scenes, "--steps", 3, "--device", "cpu", "--quiet")


@torch.no_grad()
def first_by_eager(embedded, dialogue, m) -> dict[str, set[int]]:
    """The m tokens that [CLS], and the first question, attend to most: of models that return all their attention."""
    model, processor = copy.deepcopy(embedded[0]), embedded[1]
    model.set_attn_implementation("eager")
    text = Transcript(processor).question(dialogue.turns[0].question, 1)
    inputs = encode_turn(model, processor, [text], dialogue.load_images())
    seen = model.model.vision_tower(inputs["pixel_values"], output_attentions=True).attentions[-1][0].mean(0)
    read = model(**inputs, output_attentions=True).attentions[0][0].mean(0)
    image = (inputs["input_ids"][0] == model.config.image_token_id).nonzero()[:, 0]
    ranked = {"cls_attention": seen[0, 1:], "first_layer_attention": read[image[-1] + 1 :, image].mean(0)}
    return {name: set(scores.topk(m).indices.tolist()) for name, scores in ranked.items()}


def test_the_command_fits_compares_and_draws(command, embedded, scenes, tmp_path):
    code, out, err = command("--limit", 2, "--out", tmp_path / "o")
    assert code == 0, err
    for words in ("[CLS] attention", "attention of the question", "2 image(s)", "nats a token before the fit"):
        assert words in out
    results = json.loads((tmp_path / "o" / "overlap.json").read_text())
    assert results["settings"]["method"] == "fit keep=0.1 steps=3 seed=0"
    assert results["versions"]["torch"] == torch.__version__
    for number, dialogue in enumerate(read_dialogues(scenes)[:2]):
        record = results["dialogues"][number]
        assert record["dialogue"] == dialogue.id
        p = Reduction.load(tmp_path / "o" / "reductions" / f"{number:04d}-0.safetensors")
        fit = fit_reduction(*embedded, dialogue, keep=0.1, steps=3)
        assert torch.allclose(p.weights, fit.reductions[0].weights, atol=1e-6)
        assert record["noted"] == pytest.approx({"kl_start": fit.kl_start, "kl_end": fit.kl_end}, rel=1e-4)
        kept = set(p.anchors.tolist())
        first = first_by_eager(embedded, dialogue, 14)
        [image] = record["images"]
        assert image["shared"] == {name: len(kept & tokens) for name, tokens in first.items()}
        assert (image["n"], image["m"], image["kept"]) == (144, 14, len(kept))
        assert image["chance"] == len(kept) / 144
        with Image.open(tmp_path / "o" / "pictures" / f"{number:04d}-0.png") as sheet:
            assert sheet.width > 3 * 300
    shares = [record["images"][0]["shared"]["cls_attention"] / 14 for record in results["dialogues"]]
    assert results["summary"]["cues"]["cls_attention"]["overlap"] == pytest.approx(sum(shares) / 2)
    assert results["summary"]["kl_end"] == pytest.approx(sum(r["noted"]["kl_end"] for r in results["dialogues"]) / 2)


def test_a_stopped_comparison_goes_on(embedded, scenes, tmp_path, monkeypatch):
    dialogues, names = read_dialogues(scenes), Names("embedded", "scenes")
    chooser = Fitted(*embedded, steps=1)
    asked = []

    def until_the_third(model, processor, dialogue, *arguments, **options):
        asked.append(dialogue.id)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return fit_reduction(model, processor, dialogue, *arguments, **options)

    monkeypatch.setattr(overlap, "fit_reduction", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        compare(*embedded, dialogues[:4], chooser, tmp_path, names, show_progress=False)
    assert len(json.loads((tmp_path / "overlap.json").read_text())["dialogues"]) == 2
    results = compare(*embedded, dialogues[:4], chooser, tmp_path, names, show_progress=False)
    assert asked == [d.id for d in (*dialogues[:3], *dialogues[2:4])]
    assert results["summary"]["dialogues"] == 4
    monkeypatch.setattr(overlap, "fit_reduction", fit_reduction)
    whole = compare(*embedded, dialogues[:4], chooser, tmp_path / "whole", names, show_progress=False)
    assert whole == results
    fewer = compare(*embedded, dialogues[:2], chooser, tmp_path, names, show_progress=False)
    assert fewer["summary"]["dialogues"] == 2
    assert len(fewer["dialogues"]) == 4


def test_a_dialogue_that_changed_is_compared_anew(embedded, scenes, tmp_path):
    dialogue, names = read_dialogues(scenes)[0], Names("embedded", "scenes")
    chooser = Decided(embedded[0], "sample")
    first = compare(*embedded, [dialogue], chooser, tmp_path, names, show_progress=False)
    other = Dialogue(dialogue.id, dialogue.images, (Turn("How many red objects are there?", "1"),))
    second = compare(*embedded, [other], chooser, tmp_path, names, show_progress=False)
    assert len(second["dialogues"]) == 1
    assert first["dialogues"][0]["asked"] != second["dialogues"][0]["asked"]


def test_other_settings_are_not_mixed(command, tmp_path):
    assert command("--limit", 1, "--method", "sample", "--out", tmp_path)[0] == 0
    code, _, err = command("--limit", 1, "--method", "sample", "--keep", "0.2", "--out", tmp_path)
    assert code == 1
    assert "holds overlaps of another comparison (method was 'sample" in err


@pytest.mark.parametrize("spec", ["divprune", "metacompress:d_c=8", "vispruner"])
def test_a_methods_choice_is_compared(embedded, scenes, tmp_path, spec):
    dialogues = read_dialogues(scenes)[:2]
    chooser = Decided(embedded[0], spec, keep=20)
    results = compare(*embedded, dialogues, chooser, tmp_path, Names("embedded", "scenes"), show_progress=False)
    assert results["settings"]["method"].startswith(spec.partition(":")[0])
    assert "kl_end" not in results["summary"]
    for number, dialogue in enumerate(dialogues):
        saved = Reduction.load(tmp_path / "reductions" / f"{number:04d}-0.safetensors")
        decided, _ = look(*embedded, MethodSpec.parse(spec).build(192, 20), dialogue.load_images()[0])
        assert torch.equal(saved.anchors, decided.anchors)
        kept, first = set(saved.anchors.tolist()), first_by_eager(embedded, dialogue, 20)
        [image] = results["dialogues"][number]["images"]
        assert image["shared"] == {name: len(kept & tokens) for name, tokens in first.items()}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # transformers' own
@pytest.mark.parametrize("family", ["llava_next", "qwen2_vl", "internvl", "gemma3", "idefics3"])
def test_other_families_and_several_images(family, tmp_path):
    model, processor = opened(family)
    dialogue = Dialogue("a", (picture(0), picture(1)), (Turn("How many?", "two"), Turn("Which?", "blue circles")))
    chooser = Fitted(model, processor, keep=0.25, scope=Scope("original"), steps=2)
    results = compare(model, processor, [dialogue], chooser, tmp_path, Names(family, "made up"), show_progress=False)
    [record] = results["dialogues"]
    names = cues_of(family_of(model))
    visuals = first_look(model, processor, dialogue, frozenset(names))
    for i, (image, visual) in enumerate(zip(record["images"], visuals, strict=True)):
        saved = Reduction.load(tmp_path / "reductions" / f"0000-{i}.safetensors")
        assert (image["n"], image["m"]) == (visual.tokens.n, saved.m)
        kept = set(saved.anchors.tolist())
        for name in names:
            cue = visual.tokens.cues[name]
            top = set((cue if cue.dim() == 1 else cue.mean(1)).topk(saved.m).indices.tolist())
            assert image["shared"][name] == len(kept & top)
        assert (tmp_path / "pictures" / f"0000-{i}.png").exists() == (visual.tokens.grid is not None)


def test_a_method_inside_the_llm_is_refused(command, tmp_path):
    for spec in ("fastv:layer=2", "sample+fastv"):
        code, _, err = command("--method", spec, "--out", tmp_path)
        assert code == 1
        assert f"{spec} drops tokens inside the LLM: give a method at its input" in err
    code, _, err = command("--method", "divprun", "--out", tmp_path)
    assert code == 1
    assert "did you mean 'divprune'" in err


def test_no_dialogues_are_refused(embedded, tmp_path):
    with pytest.raises(ValueError, match="give dialogues"):
        compare(*embedded, [], Decided(embedded[0], "sample"), tmp_path, Names("a", "b"))
