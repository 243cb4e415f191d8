"""How to train, whatever is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pinhole.scope import Scope


@dataclass(frozen=True)
class TrainSettings:
    """How to train; every recipe has defaults of its own.

    The optimizer is Adam; the learning rate rises over the first tenth of the steps, then falls to zero as a cosine.

    Attributes:
        epochs: times through the data.
        batch: samples in a step, of all processes together.
        micro_batch: samples that go through the model at once in one process; None is as many as the process has. It
            changes memory and speed, not the result beyond rounding.
        lr: the highest learning rate.
        clip: the largest norm of the gradient.
        seed: decides the first weights and the order of the data.
        precision: "no", or "bf16" for mixed precision.
        checkpoint_every: steps between checkpoints.
        gradient_checkpointing: compute each layer of the LLM twice to hold only its input for the backward pass.
        scope: how the method is applied while it learns.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 2
    batch: int = 16
    micro_batch: int | None = None
    lr: float = 1e-3
    clip: float = 1e-2
    seed: int = 0
    precision: str = "no"
    checkpoint_every: int = 100
    gradient_checkpointing: bool = False
    scope: Scope = field(default_factory=Scope)

    def __post_init__(self) -> None:
        micro_batch = 1 if self.micro_batch is None else self.micro_batch
        numbers = (self.epochs, self.batch, micro_batch, self.checkpoint_every)
        if min(numbers) < 1:
            told = "epochs, batch, micro_batch and checkpoint_every are at least 1, got {}, {}, {} and {}"
            raise ValueError(told.format(*numbers))
        if min(self.lr, self.clip) <= 0:
            raise ValueError(f"lr and clip are above 0, got {self.lr} and {self.clip}")
        if self.precision not in ("no", "bf16"):
            raise ValueError(f"precision is no or bf16, got {self.precision!r}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of one step (counted from 0) of a run of `steps`."""
        warm = max(1, steps // 10)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
