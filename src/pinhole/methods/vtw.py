"""VTW: all visual tokens leave at one layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from pinhole.layer_method import LayerMethod, LayerTokens, check_cuts
from pinhole.reduction import Reduction


@dataclass(frozen=True)
class VTW(LayerMethod):
    """From layer K on, the LLM reads text only.

    "Boosting Multimodal Large Language Models with Visual Tokens Withdrawal for Rapid Inference", AAAI 2025, arXiv
    2405.05803, section 3. The paper searches K for each model and task (`pinhole vtw-search` does): for LLaVA-1.5-7B of
    32 layers its public code has 15 or 16. What remains keeps its positions, as in that code.

    Attributes:
        layer: K, the first decoder layer, counted from 0, without visual tokens; None is half of the depth.
    """

    name = "vtw"
    paper = "VTW, AAAI 2025, arXiv 2405.05803"
    layer: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is not None:
            check_cuts(self.name, (self.layer,))

    def cuts(self, layers: int) -> tuple[int, ...]:
        """Layer K."""
        return check_cuts(self.name, (layers // 2 if self.layer is None else self.layer,), layers)

    def count(self, cut: int, before: int) -> int:
        """None."""
        return 0

    def at(self, share: float, layers: int) -> Self:
        """`share` is that of the layers in front of K."""
        return replace(self, layer=min(max(1, int(share * layers)), layers - 1))

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """Nothing remains."""
        return Reduction.nothing(tokens.n, tokens.hidden.device)
