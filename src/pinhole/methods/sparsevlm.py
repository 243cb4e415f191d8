"""SparseVLM: text tokens that have to do with the image rate the visual tokens; the dropped are recycled in part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch

from pinhole.budget import kept_tokens
from pinhole.layer_method import LayerMethod, LayerTokens, are_falling_shares, check_cuts, in_proportion
from pinhole.reduction import Reduction

RETAIN = {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)}
"""Of 576 visual tokens, those that the public code keeps in each stage, by the budget's name there."""

_CUTS = (3, 7, 16)


@dataclass(frozen=True)
class SparseVLM(LayerMethod):
    """Raters are the text tokens behind the image whose relevance, the mean over visual tokens of softmax(V T^t) of the
    LLM's inputs, is above the mean. In each stage the visual tokens stay to which the raters attend most in the layer
    in front of the cut, mean over raters and heads. Of the d others the floor(0.3 d) + 1 best are recycled: DPC-kNN
    puts these t into floor(t / 10) + 1 clusters, and the mean of each goes on as one token.

    "SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference", ICML 2025, arXiv 2410.04417,
    section 3, with version 1.5 of its public code: tokens leave behind layers 2, 6 and 15 of 32, counted from 0, 300,
    200 and 110 of 576 stay, and positions are numbered anew. Recycled tokens come on top: 309, 204 and 113. Their
    average over the layers is 206.5; the name 192 comes from counting each of the three layers by what leaves it.

    Where this deviates:

    - A recycled token takes the place of its cluster's first token; the public code appends it behind the kept ones.
    - Equal densities are told apart by the ranking, in the public code by noise. The mean is a mean; there 1e-6 is
      added to a cluster's size.
    - Where no text token is above the mean (there is one only), all of them are raters. Where every token fits into a
      stage's budget none leaves; the public code drops one.
    - The paper's adaptive ratio by the rank of the attention matrix is not in that code either. Version 2.0,
      SparseVLM+, is another method.

    Attributes:
        positions: "compact" as in the public code, or "original".
        layers: the decoder layers, from 0, in front of which tokens leave; None is 3, 7 and 16 of 32, or the same
            shares of another depth.
        retain: 192, 128, 96 or 64, the public code's budgets in shares of 576; or the shares of the visual tokens at
            the LLM's input that stay in each stage, without the recycled.
        recycle: whether dropped tokens are recycled.
    """

    name = "sparsevlm"
    paper = "SparseVLM, ICML 2025, arXiv 2410.04417"
    watches = True
    positions: Literal["original", "compact"] = "compact"
    layers: tuple[int, ...] | None = None
    retain: int | tuple[float, ...] = 192
    recycle: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.retain, list):
            object.__setattr__(self, "retain", tuple(self.retain))
        if not ((isinstance(self.retain, int) and self.retain in RETAIN) or are_falling_shares(self.retain)):
            raise ValueError(
                f"retain is {', '.join(map(str, RETAIN))}, or shares in (0, 1] of which none is larger than the one "
                f"before, such as (0.5, 0.3, 0.2); got {self.retain!r}"
            )
        if self.layers is not None:
            object.__setattr__(self, "layers", check_cuts(self.name, self.layers))
        if len(self.layers or _CUTS) != len(self._shares):
            raise ValueError(f"give as many layers as shares, got layers {self.layers} and retain {self.retain}")
        if not isinstance(self.recycle, bool):
            raise ValueError(f"recycle is true or false, got {self.recycle!r}")

    @property
    def _shares(self) -> tuple[float, ...]:
        if isinstance(self.retain, tuple):
            return self.retain
        return tuple(count / 576 for count in RETAIN[self.retain])

    def cuts(self, layers: int) -> tuple[int, ...]:
        """The stages' layers."""
        cuts = in_proportion(_CUTS, layers) if self.layers is None else self.layers
        return check_cuts(self.name, cuts, layers)

    def count(self, cut: int, before: int) -> int:
        """The tokens that stay, `kept_tokens(before, share)` at most, and the clusters of the recycled."""
        alive = before
        for number in range(cut + 1):
            alive = self._stays(number, before, alive) + self._clusters(alive - self._stays(number, before, alive))
        return alive

    def _stays(self, cut: int, before: int, alive: int) -> int:
        return min(kept_tokens(before, self._shares[cut]), alive)

    def _clusters(self, dropped: int) -> int:
        return _recycled(dropped) // 10 + 1 if self.recycle and dropped else 0

    def at(self, share: float, layers: int) -> Self:
        """`share` is that of the first stage; the others stay in proportion to it."""
        return replace(self, retain=tuple(share * other / self._shares[0] for other in self._shares))

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """The tokens that stay in the order of the image, then the recycled."""
        stay = self._stays(tokens.cut, tokens.before, tokens.n)
        ranked = tokens.attend(_raters(tokens), False).sum(0).argsort(descending=True, stable=True)
        chosen, dropped = ranked[:stay].sort().values, ranked[stay:]
        clusters = self._clusters(len(dropped))
        if not clusters:
            return Reduction.select(chosen, tokens.n)
        recycled = dropped[: _recycled(len(dropped))]
        cluster = _clustered(tokens.hidden[recycled], clusters)
        rows = torch.cat([torch.arange(stay, device=chosen.device), stay + cluster])
        return Reduction.merge(rows, torch.cat([chosen, recycled]), stay + clusters, tokens.n)


def _recycled(dropped: int) -> int:
    return 3 * dropped // 10 + 1


def _raters(tokens: LayerTokens) -> torch.Tensor:
    """Indices (r,) of text tokens."""
    behind = tokens.behind.nonzero()[:, 0]
    relevance = (tokens.first.float() @ tokens.first_text[behind].float().T).softmax(-1).mean(0)
    raters = behind[relevance > relevance.mean()]
    return raters if len(raters) else behind


def _clustered(x: torch.Tensor, count: int) -> torch.Tensor:
    """(t,) numbers of the clusters of t tokens by DPC-kNN, k as many as clusters.

    Centres are the tokens of highest density times distance to a denser one; the others join the nearest.

    Args:
        x: (t, d) their hidden states, the highest ranked first.
        count: of clusters.
    """
    x = x.float()
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") / x.shape[-1] ** 0.5
    density = (-distance.topk(count, largest=False).values.square().mean(-1)).exp()
    order = density.argsort(descending=True, stable=True).argsort()
    to_denser = torch.where(order < order[:, None], distance, distance.max()).amin(-1)
    centres = (density * to_denser).argsort(descending=True, stable=True)[:count]
    cluster = distance[centres].argmin(0)
    cluster[centres] = torch.arange(count, device=x.device)
    return cluster
