"""The command line: what a user types, and the one message that bad input gets."""

import json
import os
import subprocess
import sys
from typing import Annotated

import pytest
import torch
import typer
from PIL import Image
from transformers import Blip2Config
from transformers.utils import is_av_available, is_torchvision_available

import checkpoints
from pinhole import cli
from pinhole.options import SpreadCommand

COMMANDS = ("methods", "train", "eval", "bench", "chat", "label", "overlap", "vtw-search", "scenes", "quickstart")
COMMANDS = (*COMMANDS, "data", "choose", "compare", "serve", "bench-serve", "view", "demo")


def test_help_lists_every_command(pinhole):
    code, out, _ = pinhole("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"  {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained(command):
    entry = typer.main.get_command(cli.app).commands[command]
    for leaf in getattr(entry, "commands", {"": entry}).values():
        assert all(getattr(param, "help", None) for param in leaf.params), [p.name for p in leaf.params]


def test_methods_lists_the_registry(pinhole):
    code, out, _ = pinhole("methods")
    assert code == 0
    for name in ("full", "random", "sample", "spatial", "metacompress"):
        assert f"\n {name} " in out
    assert "…" not in out


def test_scenes_train_eval_chat(pinhole, tmp_path):
    assert pinhole("scenes", "--split", "train", "--count", 4, "--out", tmp_path / "data", "--quiet")[0] == 0
    data = tmp_path / "data" / "dialogues.jsonl"
    weights = tmp_path / "weights"
    arguments = [
        "--data",
        data,
        "--out",
        weights,
        "--method",
        "metacompress:keep=0.1,d_c=8",
        "--epochs",
        1,
        "--batch",
        2,
    ]
    code, out, err = pinhole("train", *arguments, "--quiet", "--device", "cpu")
    assert code == 0, err
    assert f"metacompress:{weights}" in out.replace("\n", "")
    results = tmp_path / "results"
    arguments = ["--data", data, "--out", results, "--ttft-dialogues", 1, "--quiet", "--device", "cpu"]
    code, out, err = pinhole(
        "eval", *arguments, "--methods", "full", "sample", f"metacompress:{weights}", "--keep", "0.1", "32"
    )
    assert code == 0, err
    rows = json.loads((results / "results.json").read_text())["rows"]
    assert [(row["method"], row["keep"]) for row in rows] == [
        ("full", 1.0), ("sample", 0.1), ("sample", 32), ("metacompress", 0.1), ("metacompress", 32),
    ]  # fmt: skip
    picture = next((tmp_path / "data" / "images").iterdir())
    arguments = [
        "--method",
        f"metacompress:{weights}",
        "--question",
        "How many red objects are there?",
        "What shape is it?",
    ]
    code, out, err = pinhole("chat", "--image", picture, *arguments, "--max-new-tokens", 3, "--device", "cpu")
    assert code == 0, err
    assert "(144 visual tokens, 14 kept)" in out
    assert len(out.strip().splitlines()) == 3


def test_a_typed_chat_outlives_a_bad_question_and_ends_with_the_input(pinhole, scenes, monkeypatch):
    lines = iter(["What <image> is it?", "What shape is it?", "How many red objects are there?"])
    monkeypatch.setattr(cli.console, "input", lambda prompt: next(lines, None) or (_ for _ in ()).throw(EOFError))
    code, out, err = pinhole("chat", "--image", next(scenes.glob("*.png")), "--method", "sample", "--device", "cpu")
    assert (code, err) == (0, "")
    complaint, first, kept, second = out.strip().splitlines()
    assert complaint.startswith("error: the question contains '<image>'")
    assert kept == "(144 visual tokens, 14 kept)"
    assert first
    assert second


@pytest.mark.parametrize(
    "arguments", [["--methods", "a", "b"], ["--methods", "a", "--methods", "b"], ["--methods=a", "--methods", "b"]]
)
def test_values_may_follow_an_option_together_or_one_by_one(arguments):
    app = typer.Typer()
    seen = []

    @app.command(cls=SpreadCommand)
    def command(methods: Annotated[list[str], typer.Option()], other: str = ""):
        seen.extend([methods, other])

    app([*arguments, "--other", "c"], standalone_mode=False)
    assert seen == [["a", "b"], "c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--methods", "sampel"], "no method 'sampel'; did you mean 'sample'?"),
        (["eval", "--methods", "random:sed=1"], "random has no setting 'sed'; did you mean 'seed'?"),
        (["eval", "--methods", "sample", "--keep", "0"], "--keep 0: keep as a count is at least 1"),
        (["eval", "--methods", "sample", "--keep", "1.5"], "--keep 1.5: keep as a share lies in (0, 1]"),
        (["eval", "--methods", "sample", "--keep", "-0.1"], "keep as a share lies in (0, 1]"),
        (["eval", "--methods", "sample", "--keep", "much"], "--keep much: not a number"),
        (["eval", "--methods", "sample", "--keep", "500"], "cannot keep 500 of 144 visual tokens"),
        (["eval", "--methods", "metacompress:nowhere"], "no folder 'nowhere' with metacompress weights"),
        (["eval", "--methods", "full", "--model", "./nowhere"], "no folder 'nowhere'"),
        (["eval", "--methods", "full", "--dtype", "float7"], "no dtype 'float7'"),
        (["eval", "--methods", "full", "--history", "both"], "history is own or gold"),
        (["train", "--method", "sample"], "sample has nothing to learn"),
        (["train", "--lr", "-1"], "lr and clip are above 0"),
        (["train", "--positions", "old"], "positions is compact, original or None; got 'old'"),
        (["eval", "--methods", "full", "--video-scope", "second"], "video is whole or frame, got 'second'"),
        (["eval", "--methods", "full", "--separators", "drop"], "separators is reduce or keep, got 'drop'"),
        (["eval", "--methods", "full", "--attention", "fast"], "no attention implementation 'fast'"),
        (["eval", "--methods", "full", "--quantize", "2bit"], "quantization is 4bit or 8bit, got '2bit'"),
        (["eval", "--methods", "full", "--device-map", "auto"], "give a device or a device_map, not both"),
    ],
)
def test_bad_input_gets_one_message_and_a_code_that_is_not_0(pinhole, scenes, tmp_path, arguments, message):
    code, _, err = pinhole(*arguments, "--data", scenes, "--out", tmp_path / "out", "--device", "cpu", "--quiet")
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_bad_data_names_every_line(pinhole, tmp_path):
    (tmp_path / "data.jsonl").write_text('{}\n{"image": "x.png", "turns": []}\n')
    code, _, err = pinhole("train", "--data", tmp_path / "data.jsonl", "--out", tmp_path / "out")
    assert code == 1
    assert "line 1" in err
    assert "line 2" in err
    assert not (tmp_path / "out").exists()


def test_a_compressor_of_another_width_is_refused(pinhole, scenes, tmp_path):
    from pinhole.methods.metacompress import MetaCompress

    MetaCompress.create(64).save_pretrained(tmp_path / "other")
    spec = f"metacompress:{tmp_path / 'other'}"
    code, _, err = pinhole("eval", "--data", scenes, "--out", tmp_path / "out", "--methods", spec, "--device", "cpu")
    assert code == 1
    assert "width 64, the model's is 192" in err


def test_a_model_of_another_family_is_refused_with_the_supported_types(pinhole, scenes, tmp_path):
    Blip2Config().save_pretrained(tmp_path / "blip")
    arguments = ["--data", scenes, "--out", tmp_path / "out", "--methods", "full", "--model", tmp_path / "blip"]
    code, _, err = pinhole("eval", *arguments)
    assert code == 1
    assert err.startswith("error: no support for models of type 'blip-2'; supported types: ")
    assert ", llava, " in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["truncated.png", "text.png"])
def test_a_picture_that_cannot_be_used_is_named(pinhole, tmp_path, name):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2] if name == "truncated.png" else b"hello")
    code, _, err = pinhole("chat", "--image", tmp_path / name, "--question", "What is it?")
    assert code == 1
    assert name in err


def test_a_folder_that_cannot_be_written_is_named(pinhole, scenes, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = pinhole("eval", "--data", scenes, "--out", tmp_path / "file" / "out", "--methods", "full")
    assert code == 1
    assert str(tmp_path / "file") in err


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three pictures of unlike sizes and two dialogues about them, with one and two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        checkpoints.picture(number).save(folder / f"{number}.png")
    turns = [{"question": "What colour is it?", "answer": "red"}, {"question": "How many?", "answer": "two"}]
    lines = [{"images": ["0.png"], "turns": turns}, {"images": ["1.png", "2.png"], "turns": turns}]
    (folder / "dialogues.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a family's checkpoint."""
    folders = {}

    def write(family):
        if family not in folders:
            folders[family] = checkpoints.write(family, tmp_path_factory.mktemp(family), dtype=torch.float32)
        return folders[family]

    return write


@pytest.mark.parametrize(
    ("family", "options", "kept"),
    [
        ("qwen2_5_vl", ["--positions", "compact", "--attention", "eager"], ["(24 visual tokens, 6 kept)"] * 2),
        ("internvl", ["--device-map", "auto"], ["(45 visual tokens, 11 kept)", "(36 visual tokens, 9 kept)"]),
        ("llava_next", ["--separators", "keep"], ["(70 visual tokens, 22 kept)", "(56 visual tokens, 20 kept)"]),
    ],
)
def test_chat_on_a_checkpoint_as_published(pinhole, pictures, checkpoint, family, options, kept):
    arguments = ["--model", checkpoint(family), "--image", pictures / "0.png", pictures / "1.png"]
    arguments += ["--method", "sample", "--keep", "0.25", "--max-new-tokens", 3, *options]
    code, out, err = pinhole("chat", *arguments, "--question", "What colour is it?", "How many?")
    assert code == 0, err
    assert [line for line in out.splitlines() if "visual tokens" in line] == kept


@pytest.mark.parametrize("family", ["qwen3_vl", "llava_onevision"])
def test_eval_and_train_on_a_checkpoint_as_published(pinhole, pictures, checkpoint, tmp_path, family):
    data = ["--data", pictures, "--model", checkpoint(family), "--device", "cpu", "--quiet", "--positions", "original"]
    weights, out = tmp_path / "weights", tmp_path / "results"
    train = ["--method", "metacompress:keep=0.25,d_c=4", "--epochs", 1, "--out", weights]
    code, _, err = pinhole("train", *data, *train)
    assert code == 0, err
    scope = {"positions": "original", "video": "whole", "separators": "reduce"}
    assert json.loads((weights / "training.json").read_text())["scope"] == scope
    methods = ["--methods", "full", "sample", f"metacompress:{weights}", "--keep", "0.25"]
    evaluate = [*data, *methods, "--out", out, "--max-new-tokens", 3, "--ttft-dialogues", 1]
    code, _, err = pinhole("eval", *evaluate)
    assert code == 0, err
    described = json.loads((out / "evaluation.json").read_text())
    assert {**scope, "dtype": "torch.float32", "quantization": None, "attention": "sdpa"}.items() <= described.items()
    rows = json.loads((out / "results.json").read_text())["rows"]
    assert [row["dialogues"] for row in rows] == [2] * 3
    assert rows[1]["kept_tokens"] < rows[0]["kept_tokens"] == rows[0]["visual_tokens"]
    code, _, err = pinhole("eval", *evaluate, "--positions", "compact")
    assert code == 1
    assert "positions was 'original', is 'compact'" in err


def test_chat_needs_something_to_talk_about(pinhole):
    code, _, err = pinhole("chat", "--question", "What is it?")
    assert code == 1
    assert err.startswith("error: give an --image FILE or a --video FILE")


@pytest.mark.skipif(not (is_torchvision_available() and is_av_available()), reason="needs torchvision and PyAV")
def test_chat_about_a_video_file(pinhole, checkpoint, tmp_path):
    import av

    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(10):
            frame = checkpoints.picture(number).resize((64, 48))
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    arguments = ["--video", tmp_path / "film.mp4", "--frames", 4, "--method", "sample", "--keep", "0.25"]
    arguments += ["--video-scope", "frame", "--max-new-tokens", 3, "--question", "What happens?", "And then?"]
    code, out, err = pinhole("chat", "--model", checkpoint("qwen3_vl"), *arguments)
    assert code == 0, err
    assert out.count("visual tokens") == 1


@pytest.mark.skipif(is_av_available(), reason="PyAV is installed")
def test_a_video_file_without_its_extra_is_one_message(pinhole, checkpoint, tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    arguments = ["--video", tmp_path / "film.mp4", "--question", "What happens?"]
    code, _, err = pinhole("chat", "--model", checkpoint("qwen3_vl"), *arguments)
    assert code == 1
    assert "error: reading video files needs PyAV: pip install 'pinhole-vlm[video]'" in err


def test_interrupting_keeps_what_is_done(scenes, tmp_path):
    """Ctrl-C in the middle of an evaluation: exit code 130, one message, whole lines on disk."""
    import signal
    import time

    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # background jobs ignore Ctrl-C
    start = f"{listen}; from pinhole.cli import main; main()"
    command = [sys.executable, "-c", start, "eval", "--data", str(scenes), "--out", str(tmp_path), "--batch", "1"]
    command += ["--methods", "full", "random", "sample", "spatial", "--keep", "0.1", "0.25", "0.5", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
    )
    answers = tmp_path / "answers-0000.jsonl"
    deadline = time.time() + 120
    while (not answers.exists() or not answers.stat().st_size) and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    try:
        err = process.communicate(timeout=120)[1].decode()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "what is done is kept" in err
    assert "Traceback" not in err
    lines = answers.read_text().splitlines()
    assert 0 < len(lines) < 120
    assert all(json.loads(line) for line in lines)
