"""How to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pinhole.scope import Scope


@dataclass(frozen=True)
class TrainSettings:
    """How to train; `scope` is how the method is applied while it learns.

    The paper gives two epochs, both weights 1, and clipping at 1e-2 (here: the gradient's norm). Optimizer (Adam),
    learning rate and schedule (linear warm-up over a tenth of the steps, then a cosine to zero) are ours.
    """

    epochs: int = 2
    batch: int = 16
    lr: float = 1e-3
    entropy_weight: float = 1.0
    collapse_weight: float = 1.0
    clip: float = 1e-2
    seed: int = 0
    precision: str = "no"
    checkpoint_every: int = 100
    scope: Scope = field(default_factory=Scope)

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.checkpoint_every) < 1:
            raise ValueError("epochs, batch and checkpoint_every are at least 1")
        if min(self.lr, self.clip) <= 0 or min(self.entropy_weight, self.collapse_weight) < 0:
            raise ValueError("lr and clip are above 0, entropy_weight and collapse_weight are not below it")
        if self.precision not in ("no", "bf16"):
            raise ValueError(f"precision is no or bf16, got {self.precision!r}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of one step (counted from 0) of a run of `steps`."""
        warm = max(1, steps // 10)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
