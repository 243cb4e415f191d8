"""Seconds, with nothing of what was started still running on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.generation import BaseStreamer


def gpus_of(model: PreTrainedModel) -> set[torch.device]:
    """The GPUs that hold parts of a model; none where it is on the CPU."""
    return {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}


class Clock:
    """Reads the time once GPUs have done what they were told.

    Args:
        gpus: to wait for.
    """

    def __init__(self, gpus: Set[torch.device]) -> None:
        self._gpus = gpus

    def now(self) -> float:
        """Seconds since some moment in the past."""
        for device in self._gpus:
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def seconds(self, work: Callable[[], object]) -> float:
        """How long `work` takes."""
        start = self.now()
        work()
        return self.now() - start


class TokenTimes(BaseStreamer):
    """Notes when each new token of a `generate` call is known.

    Args:
        clock: to read.

    Attributes:
        at: the moments, first token first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_prompt = True
        self.at: list[float] = []

    def put(self, value: Any) -> None:
        """Called by `generate`: with the prompt, then with every new token."""
        if not self._is_prompt:
            self.at.append(self._clock.now())
        self._is_prompt = False

    def end(self) -> None:
        """Called by `generate` behind the last token."""
