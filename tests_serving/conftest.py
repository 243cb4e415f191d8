"""Tests of the vLLM plug-in, in an environment of its own: `make serving-test`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE = 900
"""Seconds that one process may take: many times what it takes on an idle machine."""
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For processes with vLLM in them: nothing is fetched or sent, and files go to a folder of the tests."""
    folder = tmp_path_factory.mktemp("vllm")
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CONFIG_ROOT": str(folder / "config"),
        "VLLM_CACHE_ROOT": str(folder / "cache"),
    }


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MetaCompress and a Pinhole whose rows of P differ, so that each picture shows in the answers."""
    import torch

    from pinhole.methods.metacompress import MetaCompress
    from pinhole.methods.pinhole import Pinhole
    from tiny_checkpoints import WIDTH

    folder = tmp_path_factory.mktemp("weights")
    MetaCompress.create(WIDTH, seed=3, d_c=16, temperature=8.0).save_pretrained(folder / "metacompress")
    corrected = Pinhole.create(WIDTH, seed=3, d_c=16)
    torch.nn.init.normal_(corrected.say.weight, generator=torch.Generator().manual_seed(0))
    corrected.save_pretrained(folder / "pinhole")
    return folder


@pytest.fixture(scope="session")
def run_engines(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Any]]:
    """Runs engines in a process of their own."""

    def run(engines: list[dict[str, Any]], processes: int = 1) -> list[Any]:
        folder = tmp_path_factory.mktemp("engines")
        job, out = folder / "job.json", folder / "out.json"
        job.write_text(json.dumps(engines))
        one = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        several = {"VLLM_CPU_OMP_THREADS_BIND": "|".join(map(str, range(processes)))}
        ran = subprocess.run(
            [sys.executable, str(HERE / "engines.py"), str(job), str(out)],
            env={**environment, **(one if processes == 1 else several)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-6000:]
        return json.loads(out.read_text())

    return run
