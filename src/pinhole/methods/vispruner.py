"""VisPruner: the most attended tokens, and of the others those that have no duplicate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F

from pinhole.method import TrainingFree, on_patches
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class VisPruner(TrainingFree):
    """The floor(m `important`) most attended tokens are important. From the others, ranked by attention, duplicates go
    round by round until m are kept in all: tokens at even places are compared with those at odd places, and the `step`
    of them go that are most similar to one; then the even ones that are left, most similar first, stand before the odd
    ones. Kept tokens are in the order of the image.

    "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning in VLMs", ICCV 2025, arXiv
    2412.01818, section 4, with its public code: attention of the layer that the projector reads, heads averaged.

    Where this deviates:

    - Tokens are compared (by cosine) as they are after the projector; the public code does so before it.
    - All tiles or frames are compared as one sequence, where the public code takes as many from each tile. Separators
      go; the public code keeps them, as `Scope(separators="keep")` does.
    - A round takes at most half of the tokens; where it would have to take more, or the number of tokens is odd, the
      public code cannot run.

    Attributes:
        important: share of the m tokens that attention chooses.
        step: duplicates that go in one round.
        attention: that from "cls", or that "received" from all tokens, the paper's choice where there is no [CLS].
    """

    name = "vispruner"
    paper = "VisPruner, ICCV 2025, arXiv 2412.01818"
    needs = frozenset({"cls_attention"})
    important: float = 0.5
    step: int = 8
    attention: Literal["cls", "received"] = "cls"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.important <= 1:
            raise ValueError(f"important is a share in [0, 1], got {self.important}")
        if self.step < 1:
            raise ValueError(f"step is at least 1, got {self.step}")
        if self.attention not in ("cls", "received"):
            raise ValueError(f"attention is cls or received, got {self.attention!r}")
        object.__setattr__(self, "needs", frozenset({f"{self.attention}_attention"}))

    def reduce(self, image: VisualTokens) -> Reduction:
        """Important and distinct tokens."""
        m = self.count(image.n)
        return on_patches(image, m, lambda patches: self._prune(patches, m))

    def _important(self, m: int) -> int:
        return math.floor(m * Fraction(repr(float(self.important))))

    def _prune(self, image: VisualTokens, m: int) -> Reduction:
        important = self._important(m)
        ranked = image.cues[f"{self.attention}_attention"].argsort(descending=True, stable=True)
        kept = [ranked[:important]]
        if important < m:
            rest = ranked[important:]
            x = image.x[rest]
            unit = F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
            kept.append(rest[self._distinct(unit @ unit.T, m - important)])
        return Reduction.select(torch.cat(kept).sort().values, image.n)

    def _distinct(self, similarity: torch.Tensor, wanted: int) -> torch.Tensor:
        """(wanted,) the numbers of those that are left of R tokens, by their similarity (R, R)."""
        left = torch.arange(len(similarity), device=similarity.device)
        while len(left) > wanted:
            r = min(self.step, len(left) - wanted, len(left) // 2)
            even, odd = left[0::2], left[1::2]
            closest = similarity.index_select(0, even).index_select(1, odd).amax(-1)
            left = torch.cat([even[closest.argsort(descending=True, stable=True)[r:]], odd])
        return left

    def flops(self, n: int, m: int, width: int) -> int:
        """The similarities."""
        important = self._important(m)
        return 2 * (n - important) ** 2 * width if important < m else 0
