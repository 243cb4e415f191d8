"""A curriculum over a schedule: tokens leave the LLM more and more, or less and less, while the steps go by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pinhole.training.recipe import Step


@dataclass(frozen=True)
class Curriculum:
    """The way of every share between 1, where all tokens stay, and what the schedule says.

    Attributes:
        direction: "mild-to-full" starts with every token and ends at the schedule's shares; "full-to-mild" starts at
            these and ends with every token.
        shape: of the way between: "linear", "cosine" (slow at both ends), or "step" (at once, at its end).
        length: share of the steps that the way takes, in [0, 1]; those that are left are taken at its end.
    """

    direction: Literal["mild-to-full", "full-to-mild"] = "mild-to-full"
    shape: Literal["linear", "cosine", "step"] = "linear"
    length: float = 0.5

    def __post_init__(self) -> None:
        if self.direction not in ("mild-to-full", "full-to-mild"):
            raise ValueError(f"direction is mild-to-full or full-to-mild, got {self.direction!r}")
        if self.shape not in ("linear", "cosine", "step"):
            raise ValueError(f"shape is linear, cosine or step, got {self.shape!r}")
        if not 0 <= self.length <= 1:
            raise ValueError(f"length is a share of the steps in [0, 1], got {self.length}")

    def progress(self, step: Step) -> float:
        """How far shares are on their way from 1 (at 0) to the schedule's (at 1) in a step."""
        gone = min(1.0, step.progress / self.length) if self.length else 1.0
        shaped = {"linear": gone, "cosine": (1 - math.cos(math.pi * gone)) / 2, "step": float(gone == 1)}[self.shape]
        return shaped if self.direction == "mild-to-full" else 1 - shaped
