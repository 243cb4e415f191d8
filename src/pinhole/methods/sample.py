"""Sample: equidistant visual tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Sample(TrainingFree):
    """Keep equidistant visual tokens: output i is token floor((i + 1/2) n / m), the middle of its stretch.

    The baseline "Sample" of MetaCompress, table 1. The paper does not say where the first token lies; the middle of
    each stretch treats both ends alike.
    """

    name = "sample"
    paper = "baseline in MetaCompress, CVPR 2026"

    def reduce(self, image: VisualTokens) -> Reduction:
        """Pick the middle of each of m equal stretches."""
        n, m = image.n, self.count(image.n)
        return Reduction.select((2 * torch.arange(m, device=image.x.device) + 1) * n // (2 * m), n)
