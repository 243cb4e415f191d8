"""Measures serving with vLLM: a tenth of the visual tokens against all of them.

    python runs/serving.py [--out out/serving] [--method metacompress] [--keep 0.1] [--vllm vllm]

It makes a checkpoint in which the LLM dominates (runs/serving_checkpoint.py), starts two servers, one that reads all
visual tokens and one that reads them through the method, and plays the same dialogues against both in turn. The idle
one takes no time from the other. Both have equally many KV blocks, so few that the second load fills them.

throughput/  dialogues of two turns, no more at once than fit: requests per second
capacity/    more dialogues at once than fit: how many are answered at the same time

It writes OUT/results.json with both, their ratios, and the goals. vLLM is the one that --vllm starts, in whose
environment Pinhole is too; this script runs in Pinhole's own, with the extra "load".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pinhole.commands.output import console
from pinhole.data import read_dialogues
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.load.bench import Load, bench_serve
from pinhole.load.client import Answers
from pinhole.load.servers import Server
from pinhole.load.table import table
from pinhole.options import parse_keep
from pinhole.serving.settings import Settings
from pinhole.view.table import as_rich

GOALS = {"requests_per_s": 3.0, "dialogues": 5.0}
BLOCK, BLOCKS = 32, 320
"""Tokens in a KV block, and blocks of each server: 16 dialogues with all visual tokens."""
FLAGS = [
    "--served-model-name", "llava-4x1024",
    "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024", "--max-num-seqs", "96",
    "--block-size", str(BLOCK), "--num-gpu-blocks-override", str(BLOCKS), "--enable-prefix-caching",
    "--enable-prompt-tokens-details", "--limit-mm-per-prompt", '{"image": 1}',
]  # fmt: skip
START_S = 300
"""Within which a server must answer."""


@contextmanager
def served(name: str, command: list[str], log: Path) -> Iterator[Server]:
    """A server that runs as long as the block does, on a free port of this machine.

    Raises:
        RuntimeError: it does not start; with the end of what it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ}
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        wait_for(url, process, log)
        yield Server(name, url)
    finally:
        stop(process)


def fetch(url: str) -> bytes:
    """A page of a server on this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as page:
        return page.read()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            fetch(f"{url}/health")
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError("the server did not start:\n" + "\n".join(log.read_text().splitlines()[-30:]))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and after half a minute make it, with all that it started."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def reached(throughput: dict[str, Any], capacity: dict[str, Any]) -> dict[str, Any]:
    """The two ratios against their goals; the second from the lengths of dialogues, and as counted at once."""
    kv = throughput["rows"][0]["kv"]
    return {
        "requests_per_s": {
            "goal": GOALS["requests_per_s"],
            "reached": throughput["rows"][1]["to_first"]["requests_per_s"],
        },
        "dialogues": {
            "goal": GOALS["dialogues"],
            "kv_tokens": kv["blocks"] * kv["block_size"],
            "fit": [row["kv"]["dialogues_fit"] for row in throughput["rows"]],
            "reached": throughput["rows"][1]["to_first"]["dialogues_in_same_kv"],
            "blocks_in_use": [row["kv"]["peak_blocks"] for row in throughput["rows"]],
            "answered_at_once": [row["kv"]["streaming_peak"] for row in capacity["rows"]],
            "reached_at_once": capacity["rows"][1]["to_first"]["streaming_peak"],
        },
    }


def main() -> None:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=root / "out" / "serving")
    parser.add_argument("--method", default="metacompress", help="metacompress gets the untrained weights")
    parser.add_argument("--keep", type=parse_keep, default=0.1)
    parser.add_argument("--vllm", default="vllm", help="the program")
    parser.add_argument("--dialogues", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    out = given.out.resolve()
    if not (out / "long" / "dialogues.jsonl").exists():
        subprocess.run([sys.executable, root / "runs" / "serving_checkpoint.py", out], check=True)
    method = f"metacompress:{out / 'metacompress'}" if given.method == "metacompress" else given.method
    overrides = json.dumps(Settings(method, given.keep).overrides("llava"))
    command = [given.vllm, "serve", str(out / "model"), *FLAGS]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(served("full", command, out / "full.log")),
            stack.enter_context(served(given.method, [*command, "--hf-overrides", overrides], out / "method.log")),
        ]
        vllm = json.loads(fetch(f"{servers[0].url}/version"))["version"]
        found = {}
        for name, data, load in (
            ("throughput", "short", Load(16, given.rounds, 600.0, Answers(8, timeout_s=600.0))),
            ("capacity", "long", Load(96, 1, 600.0, Answers(32, timeout_s=600.0))),
        ):
            shutil.rmtree(out / name, ignore_errors=True)  # of servers that are gone
            dialogues = read_dialogues(out / data)[: given.dialogues if name == "throughput" else None]
            found[name] = bench_serve(servers, dialogues, data, load, out / name, show_progress=not given.quiet)
            console.print(f"\n{name}\n", as_rich(table(found[name])))
    goals = reached(found["throughput"], found["capacity"])
    about = {"method": given.method, "keep": given.keep, "flags": FLAGS, "goals": goals, "commit": commit()}
    used = {"versions": {**versions(), "vllm": vllm}, "hardware": hardware()}
    save(out / "results.json", {**about, **used, **found})
    console.print_json(data=goals)


if __name__ == "__main__":
    main()
