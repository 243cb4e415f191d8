"""A server as users start it: `pinhole serve`, chat over HTTP, and what it refuses."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asked import KEEP
from dialogues import picture
from pinhole.budget import kept_tokens
from pinhole.serving.settings import Settings
from tiny_checkpoints import PATCH, SIDE, write

START = 600
"""Seconds that a server may take to start."""
pytestmark = pytest.mark.xdist_group("server")
FLAGS = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "4", "--block-size", "32"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def url(checkpoint: Path, weights: Path, environment: dict[str, str], tmp_path_factory: Any) -> Iterator[str]:
    """Of a server that `pinhole serve` started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    method = ["--method", f"metacompress:{weights / 'metacompress'}", "--keep", str(KEEP)]
    line = ["serve", "--model", str(checkpoint), *method, "--host", "127.0.0.1", "--port", str(port), *FLAGS]
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "pinhole", *line, "--enable-prompt-tokens-details"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(address, server, log)
            yield address
        finally:
            server.terminate()
            server.wait(60)


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-6000:]
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no server after {START} s: {log.read_text()[-6000:]}")


def chat(url: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"messages": messages, "temperature": 0, "max_tokens": 8, "ignore_eos": True}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def about(text: str, *seeds: int) -> dict[str, Any]:
    parts = []
    for seed in seeds:
        file = io.BytesIO()
        picture(SIDE, SIDE, seed).save(file, "PNG")
        data = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        parts.append({"type": "image_url", "image_url": {"url": data}})
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def test_a_picture_costs_what_remains_of_it(url: str) -> None:
    lengths = [chat(url, [about("What is it?", *range(count))])["usage"]["prompt_tokens"] for count in (0, 1, 2)]
    m = kept_tokens((SIDE // PATCH) ** 2, KEEP)
    assert [after - before for before, after in itertools.pairwise(lengths)] == [m, m]


def test_a_second_turn_finds_its_picture_in_the_cache_and_another_picture_does_not(url: str) -> None:
    first = about("What can be seen in this picture, in one long sentence?", 7)
    chat(url, [first])
    later = [{"role": "assistant", "content": "A thing."}, about("And what colour has it?")]
    cached = chat(url, [first, *later])["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > kept_tokens((SIDE // PATCH) ** 2, KEEP)
    other = chat(url, [about("What can be seen in this picture, in one long sentence?", 8), *later])
    assert (other["usage"]["prompt_tokens_details"] or {}).get("cached_tokens", 0) < 16


def test_a_broken_picture_is_the_clients_error(url: str) -> None:
    message = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(urllib.error.HTTPError) as refused:
        chat(url, [{"role": "user", "content": [message]}])
    with refused.value as answer:
        assert 400 <= answer.code < 500
    assert chat(url, [about("Still there?", 1)])["choices"]


@pytest.mark.parametrize(
    ("method", "options", "reason"),
    [
        ("fastv", {}, "fastv drops tokens between the LLM's layers"),
        ("sample", {"enable_mm_embeds": True}, "cannot be served with --enable-mm-embeds"),
    ],
)
def test_vllm_itself_stops_at_start_with_the_reason(
    checkpoint: Path, environment: dict[str, str], tmp_path: Path, method: str, options: dict, reason: str
) -> None:
    overrides = Settings(method, KEEP).overrides("llava")
    job = {"model": str(checkpoint), "overrides": overrides, "options": options, "tokens": 1, "rounds": []}
    (tmp_path / "job.json").write_text(json.dumps([job]))
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("engines.py")), str(tmp_path / "job.json"), os.devnull],
        env={**environment, "VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert ran.returncode != 0
    assert reason in ran.stderr
