"""What a result was made with."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def commit() -> str | None:
    """The git commit of Pinhole's sources, with "+changes" where files differ from it; None outside a checkout."""
    folder = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(__file__).resolve().relative_to(git("rev-parse", "--show-toplevel")).parts[0] != "src":
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Versions of what computes, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in ("pinhole-vlm", "torch", "transformers", "accelerate", "peft", "numpy", "vllm"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """The processor and, where there is one, the GPU."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def stated(script: str, results: dict[str, Any]) -> str:
    """A sentence on what results were made with, for the page that shows them.

    Args:
        script: that wrote them.
        results: with "commit", "hardware" and "versions" as the functions above give them.
    """
    used, packages = results["hardware"], results["versions"]
    machine = used["gpu"] or f"{used['cpu']}, {used['cores']} cores"
    return (
        f"Written by `{script}` at commit `{(results['commit'] or 'unknown')[:10]}` on {machine}; torch "
        f"{packages['torch']}, transformers {packages['transformers']}."
    )
