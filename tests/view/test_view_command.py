"""`pinhole view`: what it draws, that a saved look gives the same drawing, and what it refuses."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from safetensors.torch import save_file

import checkpoints
import pinhole as package
from html_page import Page
from pinhole import cli
from pinhole.data import read_dialogues
from pinhole.explain.labeller import LabelSettings, labels_of
from pinhole.reduction import Reduction
from pinhole.view.look import ROLLOUT
from pinhole.view.saved import load_subjects


@pytest.fixture(scope="module")
def looked(scenes, tmp_path_factory):
    """A look at a scene by the command, with everything there is: (folder, image, question)."""
    folder, dialogue = tmp_path_factory.mktemp("looked"), read_dialogues(scenes)[0]
    image, question = scenes / f"{dialogue.id.removeprefix('scene-')}.png", dialogue.turns[0].question
    arguments = ["view", "--image", image, "--question", question, "--methods", "sample", "spatial", "pyramiddrop"]
    arguments += ["relevance", "--keep", "0.1", "0.25", "--save", folder / "look.safetensors", "--device", "cpu"]
    for out in ("page.html", "sheet.png"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["pinhole", *map(str, arguments), "--out", str(folder / out), "--quiet"])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        assert not stopped.value.code
    return folder, image, question


@pytest.mark.parametrize("name", ["page.html", "sheet.png"])
def test_a_saved_look_gives_the_same_bytes_without_a_model(pinhole, looked, tmp_path, monkeypatch, name):
    folder, image, _ = looked
    monkeypatch.setattr("pinhole.loading.load", lambda *_, **__: pytest.fail("a model was loaded"))
    arguments = ["--image", image, "--reductions", folder / "look.safetensors", "--out", tmp_path / "new" / name]
    code, out, err = pinhole("view", *arguments)
    assert code == 0, err
    assert name in out.replace("\n", "")
    assert (tmp_path / "new" / name).read_bytes() == (folder / name).read_bytes()


def test_the_page_is_whole_and_says_what_there_is(looked):
    folder, _, question = looked
    page = Page(folder / "page.html")
    assert page.links
    assert all(link.startswith(("data:image/webp;base64,", "data:image/png;base64,", "#")) for link in page.links)
    assert "http" not in page.source
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    ids = re.findall(r'\bid="([^"]+)"', page.source)
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in page.source
    assert "@media print" in page.source
    for words in (
        "What Sample, Spatial, PyramidDrop and Relevance (untrained) keep of 144 visual tokens",
        f"Asked: {question}",
        "Answered, uncompressed: ",
        ROLLOUT,
        "Predicted by Relevance (untrained)",
        "14 of 144 tokens kept (9.7 %)",
        "36 of 144 tokens left, merged (25.0 %)",
        "67.5 of 144 on average over layers (46.9 %)",
        "alive in layers 0 to 1 only: 36",
        "The same at every keep: see above.",
    ):
        assert words in page.text
    # the picture and two of relevance, three methods at two keeps, one at one
    assert page.tags.count("img") == 3 + 3 * 2 + 1


def test_the_look_is_what_chat_and_label_find(looked, embedded, scenes):
    folder, image, question = looked
    [subject] = load_subjects(folder / "look.safetensors", "", "image", 1)
    assert [(one.method, one.keep) for one in subject.decisions[:3]] == [
        ("Sample", 0.1), ("Sample", 0.25), ("Spatial", 0.1),
    ]  # fmt: skip
    chat = package.Chat(*embedded, package.Spatial(keep=0.1), max_new_tokens=1)
    chat.ask(question, [image])
    assert torch.equal(subject.decisions[2].reduction.matrix(), chat.reductions[0].matrix())
    dialogue = read_dialogues(scenes)[0]
    [label] = labels_of(*embedded, [(dialogue, 0)], LabelSettings(answers="all", max_answer_tokens=32))
    assert subject.answer == label.answer
    assert torch.allclose(subject.relevance[ROLLOUT], label.relevance[0], rtol=1e-4, atol=1e-7)
    assert float(subject.relevance["Predicted by Relevance (untrained)"].sum()) == pytest.approx(1)


def test_one_saved_reduction_is_enough(pinhole, embedded, scenes, tmp_path):
    image = next(scenes.glob("*.png"))
    chat = package.Chat(*embedded, package.Sample(keep=0.1), max_new_tokens=1)
    chat.ask("What shape is it?", [image])
    chat.reductions[0].save(tmp_path / "sampled.safetensors")
    arguments = ["--image", image, "--reductions", tmp_path / "sampled.safetensors", "--out", tmp_path / "page.html"]
    code, _, err = pinhole("view", *arguments)
    assert code == 0, err
    assert "What sampled keeps of 144 visual tokens" in Page(tmp_path / "page.html").text


def test_a_checkpoint_with_tiles_as_published(pinhole, tmp_path):
    folder = checkpoints.write("llava_next", tmp_path / "model", dtype=torch.float32)
    checkpoints.picture(0).save(tmp_path / "0.png")
    arguments = ["--model", folder, "--image", tmp_path / "0.png", "--methods", "sample:keep=0.5+fastv:layer=2", "tome"]
    arguments += ["--keep", 8, "--separators", "keep", "--question", "How many?", "--no-relevance", "--device", "cpu"]
    code, _, err = pinhole("view", *arguments, "--out", tmp_path / "page.html", "--quiet")
    assert code == 0, err
    text = Page(tmp_path / "page.html").text
    for words in ("Sample (keep=0.5) + FastV (layer=2)", "separators between tiles or rows: 6 of 6", "4 × 4 grid, "):
        assert words in text
    assert ROLLOUT not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "sample", "--out", "a.pdf"], "--out ends with .html or .png, got a.pdf"),
        (["--methods", "sampel"], "no method 'sampel'; did you mean 'sample'?"),
        (["--methods", "sample", "--keep", "2.5"], "keep as a share lies in (0, 1]"),
        (["--methods", "sample", "--video-scope", "second"], "video is whole or frame, got 'second'"),
        (["--methods", "fastv:layer=9"], "fastv drops tokens in front of layers 9, this LLM has layers 0 to 3"),
        ([], "give --methods to look at, or --reductions FILE"),
        (["--methods", "sample", "--reductions", "a.safetensors"], "not both"),
        (["--reductions", "a.safetensors", "--question", "?"], "leave out --question, --keep and --save"),
        (["--reductions", "nowhere.safetensors"], "no file of reductions at nowhere.safetensors"),
        (["--reductions", "TEXT"], "it is not a safetensors file"),
        (["--reductions", "OTHER"], "holds no reduction"),
        (["--reductions", "PLAIN"], "does not say where its 4 visual tokens come from"),
    ],
)
def test_bad_input_is_one_message(pinhole, scenes, tmp_path, arguments, message):
    (tmp_path / "TEXT").write_text("hello")
    Reduction.identity(4).save(tmp_path / "PLAIN")
    save_file({"a": torch.ones(2)}, tmp_path / "OTHER")
    arguments = [tmp_path / part if part in ("TEXT", "PLAIN", "OTHER") else part for part in arguments]
    out = [] if "--out" in arguments else ["--out", tmp_path / "a.html"]
    code, _, err = pinhole(
        "view", "--image", next(scenes.glob("*.png")), *arguments, *out, "--device", "cpu", "--quiet"
    )
    assert code == 1
    assert err.startswith("error: ")
    assert message in err


def test_a_picture_is_needed(pinhole, tmp_path):
    code, _, err = pinhole("view", "--methods", "sample", "--out", tmp_path / "a.png")
    assert code == 1
    assert "give an --image FILE or a --video FILE" in err
