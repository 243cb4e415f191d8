"""Relevance's recipe: what it reads, the loss by hand, that it learns, goes on, and refuses what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from launched import BOTH, IDS, two_processes
from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.encoding import encode_turn
from pinhole.explain.labels import Label, LabelStore, target
from pinhole.families import family_of
from pinhole.loading import fingerprint
from pinhole.methods.relevance import Relevance
from pinhole.registry import MethodSpec
from pinhole.scope import Scope
from pinhole.training import attention, explanation
from pinhole.training.examples import order
from pinhole.training.loop import train
from pinhole.training.recipes import recipe_of
from pinhole.training.settings import TrainSettings
from pinhole.transcript import Transcript

SPEC = MethodSpec.parse("relevance:layers=3")
SHORT = TrainSettings(epochs=2, batch=4, lr=1e-3, clip=1.0, checkpoint_every=2)


def looks(embedded, dialogue: Dialogue, question: str) -> list[torch.Tensor]:
    """A_v by the whole model with eager attention."""
    model, processor = embedded
    inputs = encode_turn(
        model, processor, [Transcript(processor).question(question, len(dialogue.images))], dialogue.load_images()
    )
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = model(**inputs, output_attentions=True).attentions[0][0].mean(0)
    model.set_attn_implementation("sdpa")
    places = (inputs["input_ids"][0] == family_of(model).token_id("image")).nonzero()[:, 0]
    return list(maps[places[-1] + 1 :, places].mean(0).split(144))


def made_up(a: torch.Tensor) -> torch.Tensor:
    """R_v that the neighbours' attention tells: a mean over three tokens, squared."""
    return torch.nn.functional.avg_pool1d(a[None, None], 3, 1, 1)[0, 0] ** 2


def write(embedded, folder, dialogues: list[Dialogue], wrong: int = 0, **settings: str):
    """Labels of every question of all dialogues; of the first ones the answer was wrong."""
    with LabelStore(folder, {"weights": fingerprint(embedded[0]), **settings}, {}) as store:
        for number, dialogue in enumerate(dialogues):
            for turn, asked in enumerate(dialogue.turns):
                relevance = tuple(map(made_up, looks(embedded, dialogue, asked.question)))
                sizes, fingerprints = tuple(map(len, relevance)), tuple(range(len(relevance)))
                store.add(
                    Label(dialogue.id, turn, asked.question, "!", number >= wrong, relevance, sizes, fingerprints)
                )
    return folder


@pytest.fixture(scope="module")
def dialogues(scenes):
    """Four dialogues, the last of which shows two images and asks about them once."""
    *some, one, other = read_dialogues(scenes)[:5]
    return [*some, Dialogue("both", (*one.images, *other.images), one.turns[:1])]


@pytest.fixture(scope="module")
def labels(embedded, dialogues, tmp_path_factory):
    return write(embedded, tmp_path_factory.mktemp("labels"), dialogues)


def run(embedded, dialogues, labels, out, settings=SHORT, spec=SPEC, **more):
    return train(*embedded, spec, dialogues, out, settings, labels=labels, show_progress=False, **more)


def assert_same(one, other, a: torch.Tensor):
    """Both say the same. (Their weights differ where a gradient is nothing but rounding, which Adam scales up.)"""
    assert [r["kl"] for r in log_of(one)] == pytest.approx([r["kl"] for r in log_of(other)], rel=1e-4)
    first, second = (Relevance.from_pretrained(folder)(a) for folder in (one, other))
    assert torch.allclose(first, second, atol=1e-3)


def log_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_logged_loss_is_that_of_eager_attention_and_the_labels(embedded, dialogues, labels, tmp_path):
    run(embedded, dialogues, labels, tmp_path / "a", options={"masked": 0.25})
    samples = sorted((d.id, turn) for d in dialogues for turn in range(len(d.turns)))
    by_id, method = {d.id: d for d in dialogues}, SPEC.build(family_of(embedded[0]).width)
    losses = []
    for name, turn in (samples[i] for i in next(iter(order(len(samples), 4, 0, 0)))):
        for a in looks(embedded, by_id[name], by_id[name].turns[turn].question):
            wanted = target(made_up(a), 0.25)
            terms = wanted * (wanted.clamp_min(1e-30).log() - method(a))
            losses.append(terms[wanted > 0].sum().item())
    assert any(len(by_id[name].images) == 2 for name, _ in samples)
    assert log_of(tmp_path / "a")[0]["kl"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_training_lowers_the_loss_and_leaves_the_model_alone(embedded, dialogues, labels, tmp_path):
    before = {name: value.clone() for name, value in embedded[0].state_dict().items()}
    method = run(embedded, dialogues, labels, tmp_path / "a", TrainSettings(epochs=25, batch=10, lr=3e-3, clip=1.0))
    log = log_of(tmp_path / "a")
    assert log[-1]["kl"] < 0.3 * log[0]["kl"]
    for name, value in embedded[0].state_dict().items():
        assert torch.equal(value, before[name]), name
    [a] = looks(embedded, dialogues[0], dialogues[0].turns[0].question)
    best = made_up(a).topk(36).indices
    assert len(set(method(a).topk(36).indices.tolist()) & set(best.tolist())) > 27
    loaded = Relevance.from_pretrained(tmp_path / "a")
    assert torch.equal(loaded(a), method(a))


def test_a_run_that_stopped_resumes_to_the_same_weights(embedded, dialogues, labels, tmp_path, monkeypatch):
    run(embedded, dialogues, labels, tmp_path / "whole", cache=tmp_path / "cache")
    calls, kl = [], explanation.relevance_kl

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return kl(*arguments)

    monkeypatch.setattr(explanation, "relevance_kl", stops)
    with pytest.raises(KeyboardInterrupt):
        run(embedded, dialogues, labels, tmp_path / "stopped", cache=tmp_path / "cache")
    monkeypatch.undo()
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    run(embedded, dialogues, labels, tmp_path / "stopped", resume=True)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert [r["kl"] for r in log_of(tmp_path / "whole")] == [r["kl"] for r in log_of(tmp_path / "stopped")]


def test_the_cache_holds_each_question_once_and_what_is_missing_is_computed_anew(
    embedded, dialogues, labels, tmp_path, monkeypatch
):
    cache, calls, look = tmp_path / "cache", [], attention.attention_of
    monkeypatch.setattr(attention, "attention_of", lambda *given: calls.append(given[3]) or look(*given))
    run(embedded, dialogues, labels, tmp_path / "a", cache=cache)
    files = sorted(cache.glob("*.safetensors"))
    assert len(files) == len(calls) == sum(len(d.turns) for d in dialogues) == 10
    for file in files[:3]:
        file.unlink()
    run(embedded, dialogues, labels, tmp_path / "b", cache=cache)
    assert len(calls) == 13
    assert sorted(cache.glob("*.safetensors")) == files
    assert not list(cache.glob("*.part"))
    assert [r["kl"] for r in log_of(tmp_path / "a")] == [r["kl"] for r in log_of(tmp_path / "b")]
    deeper = MethodSpec.parse("relevance:layers=3,input_layer=1")
    run(embedded, dialogues, labels, tmp_path / "c", spec=deeper, cache=cache)
    assert len(calls) == 23, "another layer's attention is another"
    assert log_of(tmp_path / "c")[0]["kl"] != log_of(tmp_path / "a")[0]["kl"]
    with pytest.raises(ValueError, match="caches another model's attention, or attention on other data"):
        run(embedded, [*dialogues, replace(dialogues[0], id="new")], labels, tmp_path / "d", cache=cache)


def test_micro_batches_change_nothing(embedded, dialogues, labels, tmp_path):
    for name, size in (("whole", None), ("ones", 1)):
        run(embedded, dialogues, labels, tmp_path / name, replace(SHORT, micro_batch=size))
    assert_same(tmp_path / "whole", tmp_path / "ones", looks(embedded, dialogues[0], "what ?")[0])


def test_wrong_answers_and_images_of_no_relevance_are_left_out(embedded, dialogues, tmp_path):
    folder = write(embedded, tmp_path / "labels", dialogues, wrong=2)
    with LabelStore(folder, {"weights": fingerprint(embedded[0])}, {}) as store:
        asked = dialogues[0].turns[0].question
        store.add(Label(dialogues[0].id, 0, asked, "!", True, (torch.zeros(144),), (144,), (0,)))
    settings = TrainSettings(epochs=1, batch=1)
    run(embedded, dialogues, folder, tmp_path / "a", settings)
    assert len(log_of(tmp_path / "a")) == 4, "the third dialogue's questions and that about two images"


def test_the_papers_settings_are_the_defaults():
    defaults = recipe_of(SPEC).defaults
    assert (defaults.epochs, defaults.batch, recipe_of(SPEC).options().masked) == (100, 128, 0.5)


def test_a_resumed_run_has_the_same_labels_and_options(embedded, dialogues, labels, tmp_path):
    run(embedded, dialogues, labels, tmp_path / "a")
    with pytest.raises(ValueError, match=r"labels was .* masked was 0\.5, is 0\.25"):
        run(embedded, dialogues, labels, tmp_path / "a", options={"masked": 0.25}, resume=True)


class TestRefused:
    def test_no_labels(self, embedded, dialogues, tmp_path):
        with pytest.raises(ValueError, match="relevance learns from labels: write them with pinhole label"):
            run(embedded, dialogues, None, tmp_path / "a")
        with pytest.raises(ValueError, match="no labels at"):
            run(embedded, dialogues, tmp_path, tmp_path / "a")

    def test_labels_of_another_model(self, embedded, dialogues, tmp_path):
        folder = tmp_path / "labels"
        with LabelStore(folder, {"weights": "0123"}, {}):
            pass
        with pytest.raises(ValueError, match=r"of another model \(0123, this one is [0-9a-f]{12}\)"):
            run(embedded, dialogues, folder, tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_other_data(self, embedded, dialogues, labels, tmp_path):
        with pytest.raises(
            ValueError, match=f"labels dialogues that the data does not hold.*: {dialogues[0].id}; give"
        ):
            run(embedded, dialogues[1:], labels, tmp_path / "a")
        first = replace(dialogues[0], turns=(Turn("what ?", "!"), *dialogues[0].turns[1:]))
        with pytest.raises(ValueError, match=f"or holds with other questions: {first.id}; give"):
            run(embedded, [first, *dialogues[1:]], labels, tmp_path / "a")

    def test_only_wrong_answers(self, embedded, dialogues, tmp_path):
        folder = write(embedded, tmp_path / "labels", dialogues, wrong=9)
        with pytest.raises(ValueError, match="holds no labels of right answers"):
            run(embedded, dialogues, folder, tmp_path / "a")

    def test_labels_of_another_number_of_tokens(self, embedded, dialogues, tmp_path):
        folder = tmp_path / "labels"
        with LabelStore(folder, {"weights": fingerprint(embedded[0])}, {}) as store:
            asked = dialogues[0].turns[0].question
            store.add(Label(dialogues[0].id, 0, asked, "!", True, (torch.ones(100),), (100,), (0,)))
        with pytest.raises(ValueError, match=r"have \[144\] visual tokens and \[100\] labels"):
            run(embedded, dialogues, folder, tmp_path / "a")

    def test_a_scope(self, embedded, dialogues, labels, tmp_path):
        with pytest.raises(ValueError, match="labels of whole images: choose positions"):
            run(embedded, dialogues, labels, tmp_path / "a", replace(SHORT, scope=Scope("original")))

    @pytest.mark.parametrize(("options", "message"), [({"masked": 1.0}, "masked is a share"), ({"mask": 0}, "masked")])
    def test_options_out_of_range(self, embedded, dialogues, labels, tmp_path, options, message):
        with pytest.raises(ValueError, match=message):
            run(embedded, dialogues, labels, tmp_path / "a", options=options)


@pytest.mark.parametrize(("launcher", "more"), BOTH, ids=IDS)
def test_two_processes_share_the_looking_and_give_the_weights_of_one(embedded, scenes, tmp_path, launcher, more):
    dialogues = read_dialogues(scenes)
    labels = write(embedded, tmp_path / "labels", dialogues[:3])
    run(embedded, dialogues, labels, tmp_path / "one")
    command = f"train --data {scenes} --method relevance:layers=3 --labels {labels} --out {tmp_path / 'two'}"
    command += f" --cache {tmp_path / 'cache'} --epochs 2 --batch 4 --lr 1e-3 --clip 1 --quiet --device cpu"
    two_processes(launcher, [*command.split(), *more])
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 9
    assert_same(tmp_path / "one", tmp_path / "two", looks(embedded, dialogues[0], "what ?")[0])
