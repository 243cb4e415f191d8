"""Full: every visual token, the uncompressed model."""

from __future__ import annotations

from dataclasses import dataclass, field

from pinhole.budget import Keep
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Full(TrainingFree):
    """Keep everything. What every other method is compared with; it has no settings."""

    keep: Keep = field(default=1.0, init=False)
    name = "full"
    paper = "the uncompressed model"

    def reduce(self, image: VisualTokens) -> Reduction:
        """The identity."""
        return Reduction.identity(image.n, image.x.device)
