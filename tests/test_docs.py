"""Every page of docs runs from top to bottom, on the embedded LVLM and twelve dialogues; so no command can rot."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser
from transformers.pipelines import PIPELINE_REGISTRY

import official
from documents import PAGES, SHELL, Command, blocks, commands, commands_in, leaf
from pinhole import MetaCompress
from pinhole.scenes import checkpoint
from pinhole.training import recipes

MODELS = {"llava-hf/llava-1.5-7b-hf": str(checkpoint()), "MODEL": str(checkpoint()), "llava-1.5-7b:layers=2": "tiny"}
PLACES = {"/shared/eval": "shared/eval"}
SMALL = {
    "bench": ["--turns", "1", "--repeats", "1", "--tokens", "2", "--quiet"],
    "chat": ["--question", "What shape is it?", "--max-new-tokens", "2"],
    "choose": ["--max-loss", "90%", "--keep", "0.5", "--first", "4", "--max-new-tokens", "2", "--quiet"],
    "eval": ["--limit", "2", "--max-new-tokens", "2", "--ttft-dialogues", "0", "--quiet"],
    "label": ["--limit", "2", "--quiet"],
    "overlap": ["--limit", "1", "--steps", "2", "--quiet"],
    "scenes": ["--count", "12", "--quiet"],
    "serve": ["--print"],
    "train": ["--limit", "2", "--epochs", "1", "--quiet"],
    "view": ["--max-new-tokens", "2", "--quiet"],
    "vtw-search": ["--samples", "1", "--quiet"],
}
"""What makes a command small, by its name: of an option that is given twice, the last counts."""
UNSAID = {"choose": {"--methods": ["sample"]}}
"""Options that make a command small where the page leaves them out."""
NOT_RUN = {
    "bench-serve": "asks servers that run: tests/load has one",
    "demo": "opens a page and stays: tests_demo looks at it",
    "--tasks": "needs lmms-eval, which has an environment of its own: tests_lmms",
    "--judge": "asks a judge that runs: tests/evaluation/test_judge.py has one",
    "--engine": "needs vLLM, which has an environment of its own: tests_serving",
}
"""Commands, and options of commands, of which the words alone are checked, with the reason."""
PYTHON_NOT_RUN = {"serving.md": "needs vLLM"}
RUN = [page for page in PAGES if commands(page) or "python" in dict(blocks(page))]


@pytest.fixture
def place(scenes, tmp_path, monkeypatch, embedded):
    """A folder with what the pages take for granted; it is where the test runs."""
    for picture in scenes.glob("*.png"):
        shutil.copy(picture, tmp_path)
    for name in ("train.jsonl", "test.jsonl", "mine.jsonl"):
        shutil.copy(scenes / "dialogues.jsonl", tmp_path / name)
    shutil.copy(next(scenes.glob("*.png")), tmp_path / "kitchen.jpg")
    method = MetaCompress.create(embedded[0].config.get_text_config().hidden_size)
    for folder in ("compressor", "DIR", "out/quickstart/metacompress"):
        method.save_pretrained(tmp_path / folder)
    official.gqa(tmp_path / "GQA", {"1": 3, "2": 3})
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(recipes, "RECIPES", dict(recipes.RECIPES))
    monkeypatch.setattr(PIPELINE_REGISTRY, "supported_tasks", dict(PIPELINE_REGISTRY.supported_tasks))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_methods"]:
        del sys.modules[name]


def check_launcher(command: Command) -> None:
    """torchrun or accelerate launch can read its part of the command line."""
    name, *words = command.launcher
    parser = get_args_parser() if name == "torchrun" else launch_command_parser()
    parser.parse_args([*(words if name == "torchrun" else words[1:]), "-m", "pinhole", *command.words])


def smaller(words: list[str]) -> list[str]:
    """The same command on what is here, and little of it."""
    given = [{**MODELS, **PLACES}.get(word, word) for word in words]
    for option, values in UNSAID.get(words[0], {}).items():
        given += [] if option in words else [option, *values]
    return given + SMALL.get(words[0], [])


def run_python(text: str, scope: dict, place: Path) -> None:
    """Code whose first line names a file becomes that file; other code runs."""
    for name, here in MODELS.items():
        text = text.replace(f'"{name}"', f'"{here}"')
    if named := re.match(r"# (\S+\.py)\n", text):
        (place / named[1]).parent.mkdir(exist_ok=True)
        (place / named[1]).write_text(text)
    else:
        exec(text, scope)


def install(text: str, place: Path) -> None:
    """The entry points of a pyproject.toml, as an installed package has them."""
    folder = place / "my_methods-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: my_methods\nVersion: 0\n")
    lines = []
    for group, points in tomllib.loads(text)["project"]["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("page", RUN)
def test_the_page_runs_from_top_to_bottom(page, place, pinhole):
    scope: dict = {}
    for language, text in blocks(page):
        if language == "python" and page not in PYTHON_NOT_RUN:
            run_python(text, scope, place)
        elif language == "toml":
            install(text, place)
        for command in commands_in(text) if language in SHELL else ():
            if command.launcher:
                check_launcher(command)
            if set(NOT_RUN) & set(command.words):
                called, words = leaf(command.words)
                called.make_context(called.name, words)  # every option is there, and what is required is given
                continue
            code, _, err = pinhole(*smaller(command.words))
            assert code == 0, f"{page}: {command}: {err}"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("--mehtods sample", "No such option"),
        ("--methods sample --limit few", "valid integer"),
        ("--keep 0.1", "Missing parameter"),
    ],
)
def test_words_that_rot_are_found(wrong, told):
    [command] = commands_in(f"torchrun --nproc-per-node 2 -m pinhole eval --tasks lmms:mme --out out {wrong}")
    check_launcher(command)
    called, words = leaf(command.words)
    with pytest.raises(Exception, match=told):
        called.make_context(called.name, words)


def test_every_exception_is_needed():
    words = {word for page in RUN for command in commands(page) for word in command.words}
    assert words >= set(NOT_RUN)
    assert set(RUN) >= set(PYTHON_NOT_RUN)
