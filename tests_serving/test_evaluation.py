"""`pinhole eval --engine vllm` gives what the same command gives on transformers, over three turns."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from dialogues import film, picture
from pinhole.data import Dialogue, Turn
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.families import family_of
from pinhole.loading import load
from pinhole.serving.served import Served
from pinhole.serving.unloaded import unloaded
from tiny_checkpoints import write

OPTIONS = {"enforce_eager": True, "max_model_len": 512, "max_num_seqs": 4, "block_size": 32}
TURNS = {"What is shown here?": "A thing.", "And which colour has it?": "blue", "Is it large?": "yes"}
PATIENCE = 300
TOKENS = 12
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the older transformers that vLLM brings


def checkpoint(family: str, folder: Path) -> Path:
    """One whose answers end early, and that are steered, as its generation configuration says."""
    write(family, folder)
    ends = [2, *range(7, 40)]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "repetition_penalty": 1.05}))
    return folder


def dialogues(family: str) -> list[Dialogue]:
    """About one picture, two or a film."""
    turns = tuple(Turn(question, answer) for question, answer in TURNS.items())
    pictures = [picture(56, 56, 0), picture(60, 150, 1), picture(170, 70, 2), picture(90, 56, 3)]
    shown = [Dialogue(str(i), (image,), turns) for i, image in enumerate(pictures)]
    if family != "llava_onevision":  # its tiles are others for several pictures: docs/serving.md
        shown.append(Dialogue("two", (pictures[1], pictures[3]), turns))
    if family != "llava_next":
        shown += [Dialogue(f"film {frames}", (), turns, (film(frames, 56, 84, 5),)) for frames in (6, 12)]
    return shown


@pytest.mark.parametrize(
    ("family", "method", "history"),
    [
        ("llava_next", "spatial", "own"),
        ("llava_onevision", "tome", "gold"),
        ("qwen2_vl", "random", "own"),
        ("qwen2_5_vl", "visionzip:attention=received", "gold"),
    ],
)
def test_every_kind_of_dialogue_is_held_as_on_transformers(
    family: str,
    method: str,
    history: Any,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    folder, held = str(checkpoint(family, tmp_path / family)), dialogues(family)
    model, processor = load(folder, device="cpu")
    [contender] = contenders([method], [0.3], family_of(model).shape)
    settings = EvalSettings(history, TOKENS)
    expected = [hold(model, processor, contender, [one], settings)[0] for one in held]
    lengths = {len(answer) for record in expected for answer in record.answers}
    assert len(lengths) > 2, "some answers end before others"

    described, its_processor = unloaded(folder)
    with Served(folder, described, its_processor, {"image": 2, "video": 1}, OPTIONS) as engine:
        engine.check([contender])
        for _ in range(2):  # the second time all is in the cache
            batch = engine.batch(contender, held, settings)
            assert hold(described, its_processor, contender, held, settings, batch) == expected


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, lines = tmp_path_factory.mktemp("data"), []
    turns = [{"question": question, "answer": answer} for question, answer in TURNS.items()]
    for number in range(6):
        picture(56, 56, number).save(folder / f"{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "turns": turns}))
    (folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def line(model: Path, data: Path, out: Path, *more: str) -> list[str]:
    """A command of which only the engine differs."""
    methods = ["--methods", "full", "sample", "--keep", "0.25", "--max-new-tokens", str(TOKENS)]
    given = ["--model", str(model), "--data", str(data), "--out", str(out), *methods, "--batch", "2", "--quiet"]
    return [sys.executable, "-m", "pinhole", "eval", *given, *more]


def on_vllm(*more: str) -> list[str]:
    return ["--engine", "vllm", "--engine-options", *(f"{name}={value}" for name, value in OPTIONS.items()), *more]


def finish(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stderr


def test_the_command_answers_as_on_transformers_though_it_was_killed_half_way(
    model: Path, data: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    finish(line(model, data, there, "--device", "cpu", "--ttft-dialogues", "0"), environment)

    killed = subprocess.Popen(line(model, data, here, *on_vllm()), env=environment, stderr=subprocess.DEVNULL)
    part, deadline = here / "answers-0000.jsonl", time.monotonic() + PATIENCE
    while not (part.exists() and part.read_text().endswith("\n")):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    engine = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.wait()
    assert not psutil.wait_procs(engine, timeout=60)[1], "what vLLM started ends too"

    before = part.read_text()
    assert 0 < before.count("\n") < 6
    part.write_text(before.replace('"answers": ["', '"answers": ["kept: '))
    finish(line(model, data, here, *on_vllm()), environment)
    kept = (here / "answers.jsonl").read_text()
    assert kept.count("kept: ") == before.count('"answers": ["'), "what is answered is not asked again"
    assert kept.replace("kept: ", "") == (there / "answers.jsonl").read_text()

    results = [json.loads((folder / "results.json").read_text()) for folder in (here, there)]
    assert results[0]["rows"] == results[1]["rows"]
    assert results[0]["versions"]["vllm"].startswith("0.32")
    noted = [json.loads((folder / "evaluation.json").read_text()) for folder in (here, there)]
    assert {name for name in noted[0] if noted[0][name] != noted[1][name]} == {"engine", "attention"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--methods", "sample+fastv"], "fastv drops tokens between the LLM's layers"),
        (["--engine-options", "max_model_lne=9"], "max_model_lne"),
    ],
)
def test_what_cannot_be_run_is_one_message(
    model: Path, data: Path, environment: dict[str, str], tmp_path: Path, given: list[str], reason: str
) -> None:
    command = line(model, data, tmp_path / "out", "--engine", "vllm", *given)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
