"""FastV: the visual tokens that the last token attends to least leave after an early layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from pinhole.budget import Keep, check_keep, kept_tokens
from pinhole.layer_method import LayerMethod, LayerTokens, check_cuts
from pinhole.reduction import Reduction


@dataclass(frozen=True)
class FastV(LayerMethod):
    """Keep the tokens with the highest attention, mean over heads, from the prompt's last token in layer K - 1.

    "An Image is Worth 1/2 Tokens After Layer 2", ECCV 2024, arXiv 2403.06764, section 4: K = 2 and a filtering ratio of
    50 %. The paper counts layers from 1, so that tokens leave in front of layer K counted from 0. What remains keeps
    its positions, as in the public code, whose files round counts in different ways; every image is ranked by itself.

    Attributes:
        layer: K, the first decoder layer, counted from 0, without the tokens that leave.
        keep: share or count of the visual tokens at the LLM's input that remain.
    """

    name = "fastv"
    paper = "FastV, ECCV 2024, arXiv 2403.06764"
    watches = True
    layer: int = 2
    keep: Keep = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cuts(self.name, (self.layer,))
        check_keep(self.keep)

    def cuts(self, layers: int) -> tuple[int, ...]:
        """Layer K."""
        return check_cuts(self.name, (self.layer,), layers)

    def count(self, cut: int, before: int) -> int:
        """`kept_tokens(before, keep)`."""
        return kept_tokens(before, self.keep)

    def at(self, share: float, layers: int) -> Self:
        """`share` is what to keep."""
        return replace(self, keep=share)

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """The best of them, in the order of the image."""
        best = tokens.last_attention().topk(self.count(tokens.cut, tokens.before)).indices
        return Reduction.select(best.sort().values, tokens.n)
