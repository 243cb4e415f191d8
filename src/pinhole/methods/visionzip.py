"""VisionZip: the most attended tokens, and the others merged into a few."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F

from pinhole.method import TrainingFree, on_patches
from pinhole.nearest import nearest
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class VisionZip(TrainingFree):
    """Dominant tokens, those with the most attention, are kept as they are, in the order of the image. Of the R others,
    every max(1, floor(R / c))-th is a target, c in all; the rest join the target whose key is most similar to theirs.
    Target plus mean of those that joined it is a contextual token; these come last.

    "VisionZip: Longer is Better but Not Necessary in Vision Language Models", CVPR 2025, arXiv 2412.04467, section 3
    with its public code: attention and keys (heads averaged) of the layer that the projector reads. The paper's splits
    54 + 10 of 64, 108 + 20 of 128 and 162 + 30 of 192 all are `contextual` = 10/64.

    Where this deviates:

    - Projected tokens are merged; the public code merges before the projector.
    - One of the public code's dominant tokens is [CLS] itself, which the LLM does not read here: the m - c dominant
      tokens are all patches.
    - All tiles or frames are compared as one sequence, where the public code takes as many from each tile. Separators
      go, as they do there.
    - Where c rounds to 0, nothing is merged; the public code cannot run.

    Attributes:
        attention: that from "cls", or that "received" from all tokens, the paper's choice where there is no [CLS].
        contextual: share of the m tokens that are contextual, rounded half up.
    """

    name = "visionzip"
    paper = "VisionZip, CVPR 2025, arXiv 2412.04467"
    needs = frozenset({"cls_attention", "encoder_keys"})
    attention: Literal["cls", "received"] = "cls"
    contextual: float = 10 / 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention not in ("cls", "received"):
            raise ValueError(f"attention is cls or received, got {self.attention!r}")
        if not 0 <= self.contextual <= 1:
            raise ValueError(f"contextual is a share in [0, 1], got {self.contextual}")
        object.__setattr__(self, "needs", frozenset({f"{self.attention}_attention", "encoder_keys"}))

    def reduce(self, image: VisualTokens) -> Reduction:
        """Rows of one 1 for dominant tokens; 1 and equal weights that sum to 1 for contextual ones."""
        m = self.count(image.n)
        return on_patches(image, m, lambda patches: self._zip(patches, m))

    def _contextual(self, m: int) -> int:
        return math.floor(m * Fraction(repr(float(self.contextual))) + Fraction(1, 2))

    def _zip(self, image: VisualTokens, m: int) -> Reduction:
        c = self._contextual(m)
        ranked = image.cues[f"{self.attention}_attention"].argsort(descending=True, stable=True)
        dominant, rest = (part.sort().values for part in ranked.split([m - c, image.n - m + c]))
        if not c:
            return Reduction.select(dominant, image.n)
        number = torch.arange(m, device=rest.device)
        targets = number[:c] * max(1, len(rest) // c)
        keys = image.cues["encoder_keys"][rest]
        unit = F.normalize(keys.mean(1, dtype=torch.promote_types(keys.dtype, torch.float32)), dim=-1)
        joined = nearest(unit, unit[targets])[1].index_copy(0, targets, number[:c])
        others = joined.new_zeros(c).index_add(0, joined, torch.ones_like(joined)) - 1
        merged = (1 / others)[joined].index_fill(0, targets, 1.0)
        rows, columns = torch.cat([number[: m - c], m - c + joined]), torch.cat([dominant, rest])
        return Reduction.merge(rows, columns, m, image.n, torch.cat([merged.new_ones(m - c), merged]))

    def flops(self, n: int, m: int, width: int) -> int:
        """Similarities and P X; keys are taken to be as wide as X, which bounds it from above."""
        c = self._contextual(m)
        return 2 * c * (n - m + c) * width + 2 * n * width if c else 0
