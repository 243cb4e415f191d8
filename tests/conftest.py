"""Fixtures that many tests share."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import settings

from pinhole import cli
from pinhole.loading import load
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene, render

# the same examples on every machine, however slow it is
settings.register_profile("pinhole", deadline=None, derandomize=True)
settings.load_profile("pinhole")


def pytest_addoption(parser):
    parser.addoption("--cells", help="write the contract's cells to this file, and count them for each family")


@pytest.fixture(scope="session")
def embedded():
    """The embedded LVLM and its processor. Tests leave them as they are."""
    return load("embedded", device="cpu")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Twelve dialogues of three turns in the JSON Lines format; the folder they are in."""
    folder = tmp_path_factory.mktemp("scenes")
    lines = []
    for index in range(40):
        questions = dialogue(make_scene("validation", index))
        if questions is None or len(lines) == 12:
            continue
        render(make_scene("validation", index)).save(folder / f"{index}.png")
        turns = [{"question": q.text, "answer": q.answer, "kind": q.kind} for q in questions]
        lines.append(json.dumps({"id": f"scene-{index}", "image": f"{index}.png", "turns": turns}))
    (folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def pinhole(monkeypatch, capsys):
    """Run `pinhole ...` in this process; returns (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pinhole", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            sys.exit(cli.main())
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return call
