"""Random: a random subset of the visual tokens."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch

from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class Random(TrainingFree):
    """Keep a uniformly random subset, in the order of the image. A baseline of every paper on token reduction.

    Each image has a subset of its own, decided by `seed` and the image's pixels, so the same image keeps the same
    tokens in any batch and in any run.
    """

    name = "random"
    paper = "baseline in MetaCompress, CVPR 2026"
    seed: int = 0

    def reduce(self, image: VisualTokens) -> Reduction:
        """Draw m of n without replacement."""
        # one 32-bit number of both: torch's CPU generator ignores every higher bit of a seed
        generator = torch.Generator().manual_seed(zlib.crc32(str(self.seed).encode(), image.fingerprint))
        chosen = torch.randperm(image.n, generator=generator)[: self.count(image.n)]
        return Reduction.select(chosen.sort().values.to(image.x.device), image.n)
