"""DivPrune: visual tokens that are far from each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens

TWINS = 1e-6
"""Tokens whose cosine is closer to 1 than this are one and the same but for rounding."""


@dataclass(frozen=True)
class DivPrune(TrainingFree):
    """Keep a diverse subset: greedy max-min diversity under the distance 1 - cos(x_i, x_j).

    "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models", CVPR 2025, arXiv 2503.02175: equations
    3 and 4, algorithm 1. The first pick is the token whose nearest neighbour is farthest away, every further one the
    token whose nearest pick is farthest away. Kept tokens stay in the order of the image. There is nothing to set.

    The paper calls its algorithm exact; it is the greedy one, and so is this. Where the published code differs:

    - it computes in the model's half precision, here distances are float32; ties, such as between the newline tokens of
      LLaVA-NeXT or between two tokens that are each other's nearest, go to the earlier token and not to rounding;
    - it may pick a token twice where nothing but duplicates is left; here every pick is another token;
    - a token of zeros makes its distances NaN; here it is at distance 1 from all others;
    - it rounds a half to even for the number of tokens, `kept_tokens` rounds it up.
    """

    name = "divprune"
    paper = "DivPrune, CVPR 2025, arXiv 2503.02175"

    @torch.no_grad()
    def reduce(self, image: VisualTokens) -> Reduction:
        """Pick m tokens one by one."""
        x = F.normalize(image.x.to(torch.promote_types(image.x.dtype, torch.float32)), dim=-1)
        picks = _farthest_first(_distances(x), self.count(image.n))
        return Reduction.select(picks.sort().values, image.n)

    def flops(self, n: int, m: int, width: int) -> int:
        """The cosines; what follows compares."""
        return 2 * n * n * width


def _distances(x: torch.Tensor) -> torch.Tensor:
    """(n, n), of tokens of length 1 or 0. What should be equal is: rounding decides no tie."""
    cosines = x @ x.T
    first = (cosines > 1 - TWINS).byte().fill_diagonal_(1).argmax(0)
    cosines = cosines[first][:, first]
    return 1 - torch.maximum(cosines, cosines.T)


def _farthest_first(distance: torch.Tensor, m: int) -> torch.Tensor:
    """(m,) picks in their order, from distances (n, n) whose diagonal is overwritten."""
    pick = distance.fill_diagonal_(torch.inf).amin(0).argmax(0, keepdim=True)
    distance.fill_diagonal_(-torch.inf)  # so that no pick is picked again
    picks, nearest = [pick], distance.new_full((len(distance),), torch.inf)
    for _ in range(m - 1):
        nearest = torch.minimum(nearest, distance.index_select(0, pick)[0])
        pick = nearest.argmax(0, keepdim=True)
        picks.append(pick)
    return torch.cat(picks)
