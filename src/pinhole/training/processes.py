"""The processes of one training run, as `accelerate launch` starts them; without it there is one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import torch
from accelerate import Accelerator


class Processes:
    """Every process holds the whole of what is trained, reads its share of each batch, and adds up gradients.

    Args:
        precision: "no" or "bf16".
    """

    def __init__(self, precision: str = "no") -> None:
        self._accelerator = Accelerator(mixed_precision=precision)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self._accelerator.is_main_process

    def share(self, items: Sequence[int]) -> list[int]:
        """What of a batch this process reads."""
        return list(items[self._accelerator.process_index :: self.count])

    def autocast(self) -> contextlib.AbstractContextManager:
        """The precision that was asked for."""
        return self._accelerator.autocast()

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()

    def added(self, counts: Counter[str], names: Sequence[str]) -> dict[str, int]:
        """Counts of all processes together."""
        mine = torch.tensor([counts[name] for name in names], device=self._accelerator.device)
        return dict(zip(names, self._summed(mine).tolist(), strict=True))

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Let every process have the sum of all gradients; none is a gradient of zeros."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self._summed(parameter.grad)

    def add(self, values: dict[str, float]) -> dict[str, float]:
        """Numbers of all processes together."""
        mine = torch.tensor(list(values.values()), dtype=torch.float64, device=self._accelerator.device)
        return dict(zip(values, self._summed(mine).tolist(), strict=True))

    def _summed(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._accelerator.reduce(tensor, "sum") if self.count > 1 else tensor
