"""What a training run will take, said once it is known."""

from __future__ import annotations

import resource
import statistics

import torch

_AFTER = 5


class Pace:
    """Speed and memory of the first steps.

    Args:
        steps: that are to be taken.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._seconds: list[float] = []

    def told(self, samples: int, seconds: float) -> str | None:
        """One line after the fifth step, None after others.

        Args:
            samples: in the batch.
            seconds: that the step took.
        """
        self._seconds.append(seconds)
        if len(self._seconds) != _AFTER:
            return None
        typical = statistics.median(self._seconds)
        hours = typical * self._steps / 3600
        left = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
        return f"{samples / typical:.1f} samples/s, {_peak_memory()}; {self._steps} steps take about {left}"


def _peak_memory() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the GPU at most"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB of memory at most"
