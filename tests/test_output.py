"""What commands print: with --json one document and nothing else, with --quiet the result and nothing else."""

import contextlib
import json
import signal
import time

import pytest

import official
from documents import every_command, options
from pinhole import quickstart
from pinhole.demo.serve import Serving
from pinhole.training.settings import TrainSettings
from stub_server import Stub

EXCEPTIONS = {"serve": "becomes vLLM's server, which has options and output of its own"}
QUICK = "--data {scenes} --device cpu"
ONE_RUN = f"{QUICK} --methods full sample --keep 0.1 --limit 2 --max-new-tokens 2 --ttft-dialogues 1"
CALLS = {
    "methods": "",
    "list": "",
    "build": "mt-gqa --source {gqa} --out {out}",
    "scenes": "--count 2 --out {out}",
    "train": QUICK + " --out {out} --limit 2 --epochs 1 --method metacompress:keep=0.1,d_c=4",
    "eval": ONE_RUN + " --out {out}",
    "compare": "{out} {out}",
    "chat": "--image {picture} --device cpu --question one two --max-new-tokens 2 --method sample",
    "demo": "--device cpu --methods sample --port 0",
    "choose": QUICK + " --out {out} --max-loss 90% --methods sample --keep 0.5 --first 4 --max-new-tokens 2",
    "label": QUICK + " --out {out} --limit 2 --all-answers --max-answer-tokens 2",
    "vtw-search": QUICK + " --samples 1 --smallest 1 --eta 100",
    "overlap": QUICK + " --out {out} --limit 1 --method sample",
    "view": "--image {picture} --device cpu --methods sample --out {out}/page.html",
    "quickstart": "--out {out}",
    "bench": "--model tiny:layers=2 --methods full sample --out {out} --turns 1 --tokens 2 --repeats 1 --device cpu",
    "bench-serve": "--url one={url} --data {scenes} --out {out} --dialogues 2 --rounds 1 --tokens 2",
}
"""What each command is called with, by its own name."""
FILES = {
    "build": "dataset.json",
    "eval": "results.json",
    "choose": "choose.json",
    "overlap": "overlap.json",
    "quickstart": "results.json",
    "bench": "results.json",
    "bench-serve": "results.json",
}
"""The files in --out that hold the same as what is printed."""
SAYS = {
    "methods": lambda told: {"full", "sample", "metacompress"} <= {row["method"] for row in told},
    "list": lambda told: "mt-gqa" in [row["task"] for row in told],
    "scenes": lambda told: told["dialogues"] == 2 and told["data"].endswith("dialogues.jsonl"),
    "train": lambda told: told["use"] == f"metacompress:{told['weights']}",
    "compare": lambda told: [row["difference"] for row in told["rows"]] == [0, 0],
    "demo": lambda told: told == {"url": "http://127.0.0.1:1", "public": None},
    "label": lambda told: told["asked"] == 2,
    "vtw-search": lambda told: told["layer"] == 1 and told["divergences"]["1"] > 0,
    "view": lambda told: told["picture"].endswith("page.html"),
}
"""Of the other commands, whether what is printed is the result."""


@pytest.fixture
def stage(scenes, tmp_path, monkeypatch, pinhole):
    """What calls are filled with; and what would take long, or stay for ever, does not."""
    monkeypatch.setattr(quickstart, "TRAINED_ON", 4)
    monkeypatch.setattr(quickstart, "HELD_OUT", 4)
    monkeypatch.setattr(quickstart, "PICTURES", 1)
    monkeypatch.setattr(quickstart, "SETTINGS", TrainSettings(epochs=1, batch=2))
    opened = contextlib.nullcontext(Serving("http://127.0.0.1:1", None, None))
    monkeypatch.setattr("pinhole.demo.serve.check_gradio", lambda: None)
    monkeypatch.setattr("pinhole.demo.serve.serving", lambda *_: opened)
    monkeypatch.setattr(time, "sleep", stopping(time.sleep))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    server = Stub()
    gqa = official.gqa(tmp_path / "GQA", {"1": 3, "2": 3})
    picture = next(scenes.glob("*.png"))
    yield {"scenes": scenes, "picture": picture, "out": tmp_path / "out", "url": server.url, "gqa": gqa}
    server.close()


@pytest.fixture
def terminal(monkeypatch):
    """What rich takes for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")


def stopping(sleep):
    """A sleep that Ctrl-C ends where it is long."""

    def called(seconds):
        if seconds > 1000:
            raise KeyboardInterrupt
        sleep(seconds)

    return called


def words(name, stage):
    """A command line, with the groups that the command is in."""
    group = {"list": ["data"], "build": ["data"]}.get(name, [])
    return [*group, name, *CALLS[name].format(**stage).split()]


def test_every_command_takes_json_and_quiet():
    commands = {command.name: options(command) for command in every_command()}
    lacking = {name for name, taken in commands.items() if not {"--json", "--quiet"} <= taken}
    assert lacking == set(EXCEPTIONS)
    assert set(CALLS) == set(commands) - set(EXCEPTIONS)
    assert set(CALLS) == {*FILES, *SAYS, "chat"}


@pytest.mark.parametrize("name", sorted({*FILES, *SAYS}))
def test_json_is_one_document_and_quiet_leaves_nothing_else(pinhole, stage, terminal, name):
    if name == "compare":
        assert pinhole(*words("eval", stage), "--quiet")[0] == 0
    code, out, err = pinhole(*words(name, stage), "--json", "--quiet")
    assert (code, err) == (0, "")
    told = json.loads(out)
    if name in FILES:
        assert told == json.loads((stage["out"] / FILES[name]).read_text())
    else:
        assert SAYS[name](told), told


def test_chat_prints_a_document_for_every_turn(pinhole, stage):
    code, out, err = pinhole(*words("chat", stage), "--json", "--quiet")
    assert (code, err) == (0, "")
    turns = [json.loads(line) for line in out.splitlines()]
    assert [turn["question"] for turn in turns] == ["one", "two"]
    assert [turn["seen"] for turn in turns] == [[{"visual_tokens": 144, "kept_tokens": 14}]] * 2
    code, out, _ = pinhole(*words("chat", stage), "--quiet")
    assert out.split("\n") == [*(turn["answer"] for turn in turns), ""]


def test_messages_go_to_standard_error_with_json_and_nowhere_with_quiet(pinhole, stage):
    told = f"evaluate: pinhole eval --data {stage['out']} --max-new-tokens"
    code, out, err = pinhole(*words("build", stage))
    assert (code, told in out, err) == (0, True, "")
    code, out, err = pinhole(*words("build", stage), "--json")
    assert (code, err.startswith(told)) == (0, True)
    assert json.loads(out)["dialogues"] == 2
    code, out, err = pinhole(*words("build", stage), "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("2 dialogues of mt-gqa (testdev) in ")
    assert "evaluate:" not in out


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("scenes", ["drawing test scenes"]),
        ("build", ["building mt-gqa"]),
        ("train", ["training"]),
        ("eval", ["answering", "timing the first token"]),
        ("demo", ["warming up"]),
        ("choose", ["trying"]),
        ("label", ["labelling"]),
        ("vtw-search", ["searching"]),
        ("overlap", ["comparing"]),
        ("view", ["looking", "drawing"]),
        ("bench", ["building tiny:layers=2", "counting", "warming up"]),
        ("bench-serve", ["asking"]),
    ],
)
def test_what_takes_long_is_shown_on_standard_error(pinhole, stage, terminal, name, what):
    code, out, err = pinhole(*words(name, stage))
    assert code == 0
    assert [told for told in what if told in err] == what
    assert not any(told in out for told in what)


@pytest.mark.parametrize("flags", [["--quiet"], ["--json"]])
def test_each_flag_hides_progress(pinhole, stage, terminal, flags):
    code, _, err = pinhole(*words("scenes", stage), *flags)
    assert (code, err) == (0, "")


def test_no_progress_is_drawn_where_nobody_looks(pinhole, stage):
    code, out, err = pinhole(*words("scenes", stage))
    assert (code, err) == (0, "")
    assert out.startswith("wrote 2 dialogues")
