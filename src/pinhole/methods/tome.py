"""ToMe: the most similar tokens are merged, pair by pair, until m are left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from pinhole.method import TrainingFree, on_patches
from pinhole.nearest import nearest
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class ToMe(TrainingFree):
    """Bipartite soft matching (section 3), in rounds: A are the tokens at even places, B those at odd places; each of A
    draws an edge to the most similar of B; the r best edges merge their ends; A's rest and B are put together again.

    "Token Merging: Your ViT But Faster", ICLR 2023, arXiv 2210.09461. A kept token is the mean of all tokens that went
    into it (the size-weighted mean of section 3), and so is its key, by which the next round compares.

    Where this deviates, because the paper merges inside a ViT, layer by layer, and here tokens that were projected for
    an LLM are merged at once:

    - Rounds follow each other until m tokens are left, and no layer computes new keys between them. There is no
      proportional attention: an LLM has no place for sizes.
    - After a round, unmerged tokens of A stay in their order, as in the public code where there is a [CLS] token.
    - The result is in the order of each token's first part in the picture: to a ViT the order is nothing, an LLM reads
      a sequence.
    - Separators, which have no keys, go; with metric "x" they are tokens like others.

    Attributes:
        metric: compare by the encoder's "keys", heads averaged, at the layer that the projector reads; or by "x", the
            projected features, where a model does not give keys.
        r: edges that one round merges at most; None is as many as there can be, half of the tokens.
    """

    name = "tome"
    paper = "ToMe, ICLR 2023, arXiv 2210.09461"
    needs = frozenset({"encoder_keys"})
    metric: Literal["keys", "x"] = "keys"
    r: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric not in ("keys", "x"):
            raise ValueError(f"metric is keys or x, got {self.metric!r}")
        if self.r is not None and self.r < 1:
            raise ValueError(f"r is at least 1, or None for half of the tokens; got {self.r}")
        if self.metric == "x":
            object.__setattr__(self, "needs", frozenset())

    def reduce(self, image: VisualTokens) -> Reduction:
        """Means of groups of similar tokens."""
        m = self.count(image.n)
        if self.metric == "x":
            return self._merge(image.x[:, None], m)
        return on_patches(image, m, lambda patches: self._merge(patches.cues["encoder_keys"], m))

    def _merge(self, heads: torch.Tensor, m: int) -> Reduction:
        # the sum of a group points where its mean points, and only angles are compared
        sums = heads.mean(1, dtype=torch.promote_types(heads.dtype, torch.float32))
        n = len(sums)
        source = torch.arange(n, device=sums.device)
        group = source
        while len(sums) > m:
            place, sums = _round(sums, min(len(sums) - m, len(sums) // 2, self.r or n))
            group = place[group]
        first = torch.full_like(group[:m], n).scatter_reduce(0, group, source, "amin")
        return Reduction.merge(first.argsort().argsort()[group], source, m, n)

    def flops(self, n: int, m: int, width: int) -> int:
        """Similarities, summed keys and P X; keys are taken to be as wide as X, which bounds it from above."""
        total, tokens = 2 * n * width, n
        while tokens > m:
            merged = min(tokens - m, tokens // 2, self.r or n)
            total += 2 * width * ((tokens // 2) * (tokens - tokens // 2) + tokens)
            tokens -= merged
        return total


def _round(sums: torch.Tensor, r: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One round on t tokens.

    Args:
        sums: (t, c) of each token's members.
        r: how many tokens are merged into others.

    Returns:
        (t,) int64, the number of each token, or of the one that it went into, and (t - r, c) their sums.
    """
    unit = F.normalize(sums, dim=-1)
    best, partner = nearest(unit[0::2], unit[1::2])
    unmerged = best.argsort(descending=True, stable=True)[r:].sort().values
    target = torch.arange(len(sums) // 2, device=sums.device)
    even = len(unmerged) + partner
    even[unmerged] = torch.arange(len(unmerged), device=sums.device)
    place = torch.empty(len(sums), dtype=torch.long, device=sums.device)
    place[0::2], place[1::2] = even, len(unmerged) + target
    source, ones = torch.arange(len(sums), device=sums.device), torch.ones_like(sums[:, 0])
    return place, Reduction.merge(place, source, len(sums) - r, len(sums), ones).apply(sums)
