"""DART: a few pivot tokens, and of the other visual tokens those that resemble them least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F

from pinhole.budget import Keep, check_keep, kept_tokens
from pinhole.layer_method import LayerMethod, LayerTokens, check_cuts
from pinhole.reduction import Reduction


@dataclass(frozen=True)
class DART(LayerMethod):
    """Pivots are the visual tokens, and the text tokens behind the image, whose keys in layer K - 1 have the largest L1
    norm over all heads. One after the other, the visual pivots first and each kind by falling norm, they pick the
    visual tokens of the lowest cosine to them, which no later pivot can pick again: of hidden states in front of layer
    K, behind the LLM's last norm. The picks and the visual pivots remain, at their positions.

    "Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More", EMNLP 2025, arXiv
    2502.11494, section 4: K = 2, four pivots of each kind, and 128 of 576 tokens as the second of its three budgets.

    Where this deviates:

    - m tokens remain in all, so that the pivots share m less the visual pivots; what does not divide evenly goes to the
      first ones, one token each. Where m is not more than the visual pivots, the m first of these remain. The public
      code lets every pivot pick floor(m / 8), and keeps the visual pivots besides.
    - The public code asks the pivots in the order of a Python set.

    Attributes:
        layer: K, the first decoder layer, counted from 0, without the tokens that leave.
        keep: share or count of the visual tokens at the LLM's input that remain.
        visual_pivots: how many pivots are visual tokens.
        text_pivots: how many are text tokens; fewer where there is less text behind the image.
    """

    name = "dart"
    paper = "DART, EMNLP 2025, arXiv 2502.11494"
    watches = True
    layer: int = 2
    keep: Keep = 0.222
    visual_pivots: int = 4
    text_pivots: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cuts(self.name, (self.layer,))
        check_keep(self.keep)
        for least, name in ((1, "visual_pivots"), (0, "text_pivots")):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"{name} is a whole number from {least} on, got {getattr(self, name)!r}")

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
        """Visual pivots and picks, in the order of the image."""
        n, m = tokens.n, self.count(tokens.cut, tokens.before)
        norms = tokens.keys().flatten(1).float().abs().sum(-1)
        behind = tokens.behind.nonzero()[:, 0]
        visual = _largest(norms[:n], min(self.visual_pivots, m))
        text = behind[_largest(norms[n:][behind], min(self.text_pivots, len(behind)))]
        pivots = _directions(tokens, torch.cat([tokens.hidden[visual], tokens.text[text]]))
        candidates = _directions(tokens, tokens.hidden)
        is_free = torch.ones(n, dtype=torch.bool, device=visual.device).index_fill(0, visual, False)
        each, more = divmod(m - len(visual), len(pivots))
        for i, pivot in enumerate(pivots):
            cosine = (candidates @ pivot).masked_fill(~is_free, torch.inf)
            is_free[cosine.argsort(stable=True)[: each + (i < more)]] = False
        return Reduction.select((~is_free).nonzero()[:, 0], n)


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) where the largest are, the largest first."""
    return values.argsort(descending=True, stable=True)[:count]


def _directions(tokens: LayerTokens, hidden: torch.Tensor) -> torch.Tensor:
    """Unit vectors (k, d) of hidden states (k, d) behind the last norm."""
    return F.normalize(tokens.norm(hidden).float(), dim=-1)
