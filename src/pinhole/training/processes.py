"""The processes of one training run, as `accelerate launch` starts them; without it there is one."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from pinhole.families import family_of


class Processes:
    """Every process holds the whole of what is trained, reads its share of each batch, and adds up gradients.

    Args:
        precision: "no" or "bf16".
        device: of the model.
    """

    def __init__(self, precision: str, device: torch.device) -> None:
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=precision)

    @property
    def count(self) -> int:
        """How many there are."""
        return self._accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and shows progress."""
        return self._accelerator.is_main_process

    def shard(self, model: PreTrainedModel) -> None:
        """Spread the weights of the LLM's layers over the processes: each layer is put together while it computes.

        Raises:
            ValueError: there is one process, or the weights are quantised or spread already.
        """
        if self.count == 1:
            raise ValueError(
                "one process has nothing to share: start several with torchrun or accelerate launch, or leave out "
                "--shard"
            )
        if len(set(getattr(model, "hf_device_map", {}).values())) > 1 or getattr(model, "is_quantized", False):
            raise ValueError("weights that are quantised or spread over devices cannot be sharded: leave --shard out")
        device = self._accelerator.device
        mesh = init_device_mesh(device.type, (self.count,))
        for layer in family_of(model).language_model.layers:
            fully_shard(layer, mesh=mesh)

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
