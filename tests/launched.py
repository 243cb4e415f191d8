"""`pinhole` in two processes of the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "accelerate.yaml"
TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "2"]
ACCELERATE = ["accelerate.commands.launch", "--config_file", str(CONFIG), "--num_processes", "2"]
BOTH = [(TORCHRUN, []), (ACCELERATE, ["--shard"])]
"""A launcher, and what `pinhole train` is given."""
IDS = ["replicated by torchrun", "sharded by accelerate launch"]


def two_processes(launcher: list[str], command: list[str]) -> str:
    """Run `pinhole`; returns what it printed. Where it fails, so does the test, with the last of its errors."""
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "pinhole", *command],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
