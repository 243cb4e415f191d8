"""Several processes at one job, each with a part of its items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from accelerate import PartialState
from transformers import PreTrainedModel

from pinhole.devices import input_device


@dataclass(frozen=True)
class Share:
    """Which part of the work this process does, among those that `torchrun` or `accelerate launch` started.

    Attributes:
        rank: number of this process.
        count: how many there are.
        wait: returns when all of them have called it.
    """

    rank: int = 0
    count: int = 1
    wait: Callable[[], object] = lambda: None

    @classmethod
    def of_launch(cls, model: PreTrainedModel) -> Self:
        """This process; the only one where nothing started several."""
        state = PartialState(cpu=input_device(model).type == "cpu")
        return cls(state.process_index, state.num_processes, state.wait_for_everyone)
