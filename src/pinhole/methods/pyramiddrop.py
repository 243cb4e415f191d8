"""PyramidDrop: stage by stage, visual tokens leave to which the instruction's last token would attend least."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, Self

from pinhole.layer_method import LayerMethod, LayerTokens, check_cuts, in_proportion
from pinhole.reduction import Reduction


@dataclass(frozen=True)
class PyramidDrop(LayerMethod):
    """In front of each of `layers`, keep the tokens with the highest attention from the last token of the prompt, mean
    over heads; it is computed with the norm, queries, keys and positions of the layer that the tokens would enter.

    "PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction", CVPR 2025,
    arXiv 2410.17247, section 3, with its public code: LLaVA-1.5-7B keeps 1/2, 1/4 and 1/8 in front of layers 8, 16 and
    24 of 32, and every cut numbers the positions of all tokens anew.

    Where this deviates:

    - Counts are rounded to the nearest, halves up, and are at least 1; the public code rounds down.
    - Every image of a prompt is reduced; the public code reduces a prompt's first.

    Attributes:
        positions: "compact" as in the public code, or "original".
        layers: the decoder layers, from 0, in front of which tokens leave; None is a quarter, a half and three quarters
            of the depth.
        ratio: what remains in each stage, as a share of the stage before.
    """

    name = "pyramiddrop"
    paper = "PyramidDrop, CVPR 2025, arXiv 2410.17247"
    positions: Literal["original", "compact"] = "compact"
    layers: tuple[int, ...] | None = None
    ratio: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None:
            object.__setattr__(self, "layers", check_cuts(self.name, self.layers))
        if not isinstance(self.ratio, float) or not 0 < self.ratio <= 1:
            raise ValueError(f"ratio is a share in (0, 1], got {self.ratio!r}")

    def cuts(self, layers: int) -> tuple[int, ...]:
        """The stages' layers."""
        cuts = in_proportion((8, 16, 24), layers) if self.layers is None else self.layers
        return check_cuts(self.name, cuts, layers)

    def count(self, cut: int, before: int) -> int:
        """`before` times `ratio` to the power of `cut + 1`, in exact arithmetic."""
        share = Fraction(repr(float(self.ratio))) ** (cut + 1)
        return max(1, math.floor(before * share + Fraction(1, 2)))

    def at(self, share: float, layers: int) -> Self:
        """`share` is the ratio."""
        return replace(self, ratio=share)

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """The best of those that are left, in the order of the image."""
        best = tokens.last_attention(ahead=True).topk(self.count(tokens.cut, tokens.before)).indices
        return Reduction.select(best.sort().values, tokens.n)
