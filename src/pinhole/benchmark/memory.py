"""The most memory that some work takes at any moment, beyond what was taken before it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Set
from pathlib import Path

import torch

PROC = Path("/proc/self")
CANNOT = "the peak of this process's memory cannot be reset here: that takes Linux and a writable /proc/self/clear_refs"
"""Why there is none on the CPU."""


def peak_bytes(gpus: Set[torch.device], work: Callable[[], object]) -> int | None:
    """Bytes; on a GPU as PyTorch allocates them, on the CPU as the resident set grows. None where there is no telling.

    Args:
        gpus: that the work runs on; none where it runs on the CPU.
        work: run once.
    """
    gc.collect()
    return _on_gpus(gpus, work) if gpus else _on_cpu(work)


def _on_gpus(gpus: Set[torch.device], work: Callable[[], object]) -> int:
    before = sum(torch.cuda.memory_allocated(gpu) for gpu in gpus)
    for gpu in gpus:
        torch.cuda.reset_peak_memory_stats(gpu)
    work()
    return sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus) - before


def _on_cpu(work: Callable[[], object]) -> int | None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed, but not given back, would hide as much of the peak
    if not _reset():
        return None
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _reset() -> bool:
    """Start the resident set's peak anew; whether that is allowed."""
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    """Bytes of an entry of /proc/self/status."""
    for line in (PROC / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(f"/proc/self/status has no {name}")
