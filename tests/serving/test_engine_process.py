"""The process around an engine, with a module in vLLM's place: what passes through, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from pinhole.data import Dialogue, Turn
from pinhole.serving.engine_process import EngineProcess

VLLM = """
import os, subprocess, sys, time
from types import SimpleNamespace as Namespace

class SamplingParams(Namespace):
    pass

class LLM:
    def __init__(self, model, pids, **options):
        if model == "too large":
            raise RuntimeError("no room for it")
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(pids, "w") as file:
            file.write(f"{os.getpid()} {child.pid}")
        self.llm_engine = Namespace(engine_core=Namespace(shutdown=lambda: None))  # leaves its child behind

    def generate(self, requests, sampling, use_tqdm):
        answers = []
        for request in requests:
            ids = request["prompt_token_ids"]
            if ids == [0]:
                raise ValueError("an empty prompt")
            if ids == [1]:
                os._exit(3)
            if ids == [2]:
                time.sleep(600)
            [image] = request["multi_modal_data"]["image"]
            said = Namespace(token_ids=[image.width] * min(sampling.max_tokens, 3), finish_reason="length")
            answers.append(Namespace(outputs=[said], prompt_token_ids=ids * 2))
        return answers
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "vllm.py").write_text(VLLM)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def dialogues(*widths):
    return [Dialogue(str(w), (Image.new("RGB", (w, 5)),), (Turn("What?", "That."),)) for w in widths]


def ask(process, *prompts, limit=5):
    process.send("ask", list(prompts), {"max_tokens": limit})
    return process.receive()


def wait_until_gone(folder):
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    deadline = time.monotonic() + 30
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"{left} are still there"
        time.sleep(0.05)


def is_running(pid):
    """Whether it is there and no zombie, which a container may leave of what has no parent any more."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_answers_about_what_was_shown_last_and_leaves_nothing_behind(folder):
    process = EngineProcess("model", {"pids": str(folder / "pids")})
    for widths in ((4, 6), (9,)):
        process.send("show", dialogues(*widths), None)
        assert process.receive() is None
        answers = ask(process, *[[5, 6]] * len(widths))
        assert [(one.ids, one.prompt) for one in answers] == [([w] * 3, 4) for w in widths]
        assert all(one.is_cut for one in answers)
        assert not any(one.is_cut for one in ask(process, *[[5, 6]] * len(widths), limit=3))
    process.stop()
    wait_until_gone(folder)


def test_what_goes_wrong_is_told_in_its_own_words(folder):
    with pytest.raises(ValueError, match="vLLM says: no room for it"):
        EngineProcess("too large", {"pids": str(folder / "pids")})
    process = EngineProcess("model", {"pids": str(folder / "pids")})
    process.send("show", dialogues(4), None)
    process.receive()
    with pytest.raises(ValueError, match="vLLM says: an empty prompt"):
        ask(process, [0])
    assert ask(process, [5])[0].ids == [4, 4, 4], "the engine goes on"
    with pytest.raises(ValueError, match="process ended with code 3"):
        ask(process, [1])
    with pytest.raises(ValueError, match="process ended with code 3"):
        ask(process, [5])
    process.stop()
    wait_until_gone(folder)


def test_one_that_is_busy_can_be_stopped_at_once(folder):
    process = EngineProcess("model", {"pids": str(folder / "pids")})
    process.send("show", dialogues(4), None)
    process.receive()
    process.send("ask", [[2]], {"max_tokens": 1})
    process.stop(at_once=True)
    wait_until_gone(folder)


def test_it_ends_where_the_process_that_started_it_is_killed(folder):
    program = (
        "import time\n"
        "from pinhole.serving.engine_process import EngineProcess\n"
        "if __name__ == '__main__':\n"
        f"    EngineProcess('model', {{'pids': {str(folder / 'pids')!r}}})\n"
        "    time.sleep(600)\n"
    )
    (folder / "program.py").write_text(program)
    parent = subprocess.Popen([sys.executable, str(folder / "program.py")])
    deadline = time.monotonic() + 120
    while not ((folder / "pids").exists() and len((folder / "pids").read_text().split()) == 2):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(30)
    wait_until_gone(folder)
