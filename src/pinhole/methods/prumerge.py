"""PruMerge and PruMerge+: the tokens that [CLS] attends to most, each with what the tokens nearest to it add."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F

from pinhole.budget import Keep, kept_tokens
from pinhole.layout import Layout
from pinhole.method import TrainingFree, on_patches
from pinhole.nearest import neighbours
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True)
class _Merging(TrainingFree):
    """What both share: all but the choice of the tokens that are kept."""

    needs = frozenset({"cls_attention_joint+1", "encoder_keys+1"})
    keep: Keep | None = None  # type: ignore[assignment]
    k: int = 32
    among: Literal["all", "dropped"] = "all"
    fence: float = 1.5
    layer: Literal["after", "own"] = "after"

    def __post_init__(self) -> None:
        if self.keep is not None:
            super().__post_init__()
        if self.k < 1 or self.fence < 0:
            raise ValueError(f"k is at least 1 and fence at least 0, got {self.k} and {self.fence}")
        if self.among not in ("all", "dropped") or self.layer not in ("after", "own"):
            raise ValueError(f"among is all or dropped, layer is after or own; got {self.among!r} and {self.layer!r}")
        object.__setattr__(self, "needs", frozenset({self._cue("cls_attention_joint"), self._cue("encoder_keys")}))

    def _cue(self, name: str) -> str:
        return name + "+1" if self.layer == "after" else name

    def count(self, n: int, layout: Layout | None = None) -> int | None:  # type: ignore[override]
        """As of every method; None with its own count."""
        return None if self.keep is None else kept_tokens(n, self.keep)

    def reduce(self, image: VisualTokens) -> Reduction:
        """Rows that weigh their own token with 1 and others with the attention to them."""
        m = self.count(image.n)
        return on_patches(image, m, lambda patches: self._merge(patches, m))

    @abstractmethod
    def _pick(self, attention: torch.Tensor, m: int | None) -> torch.Tensor:
        """The tokens that are kept, without the one that sums up the rest: m - 1, or by the content."""

    def _merge(self, image: VisualTokens, m: int | None) -> Reduction:
        attention, keys = (image.cues[self._cue(name)] for name in ("cls_attention_joint", "encoder_keys"))
        picked = self._pick(attention, m)
        unit = F.normalize(keys.flatten(1).to(torch.promote_types(keys.dtype, torch.float32)), dim=-1)
        out = picked[:, None] if self.among == "all" else picked.expand(len(picked), -1)
        nearest = neighbours(unit, picked, out, min(self.k, image.n - out.shape[1]))
        row = torch.arange(len(picked), device=picked.device)
        rest = torch.zeros_like(attention).index_fill(0, picked, 1).argsort(stable=True)[: image.n - len(picked)]
        rows = [row, row.repeat_interleave(nearest.shape[1]), torch.full_like(rest, len(picked))]
        columns = torch.cat([picked, nearest.flatten(), rest])
        weights = attention[columns].index_fill(0, row, 1.0)
        return Reduction.merge(torch.cat(rows), columns, len(picked) + bool(len(rest)), image.n, weights)

    def _outliers(self, attention: torch.Tensor) -> torch.Tensor:
        low, high = attention.quantile(attention.new_tensor([0.25, 0.75]))
        count = int((attention > high + self.fence * (high - low)).sum())
        return _ranked(attention)[:count]

    def flops(self, n: int, m: int, width: int) -> int:
        """Similarities and P X; keys are taken to be as wide as X, which bounds it from above."""
        return 2 * (m - 1) * n * width + 2 * ((m - 1) * min(self.k, n - 1) + n) * width


@dataclass(frozen=True)
class PruMerge(_Merging):
    """Tokens are picked by [CLS]'s attention a; a picked token i becomes x_i + sum_j a_j x_j over the k tokens whose
    keys are nearest to its own by cosine; one more token, the last, is sum_j a_j x_j over all that were not picked.

    "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large Multimodal Models", ICCV 2025, arXiv 2403.15388,
    sections 3.2 (the choice) and 3.3 (the sums), as its public code fills them in: attention and keys of the layer
    after the one that the projector reads, heads taken as one; weights do not sum to 1; most attended tokens first.

    Where this deviates:
    - Projected tokens are merged; the public code merges before the projector.
    - All tiles or frames are compared as one sequence; separators go; no token of zeros sums up nothing.

    Attributes:
        keep: share or count, the last token included; or None, the method's own count: as many as are outliers.
        k: nearest tokens that are added.
        among: where they are looked for: "all" other tokens, as in the public code, or the "dropped", as in the text.
        fence: outliers have this many interquartile ranges more attention than the third quartile.
        layer: whose attention and keys: those of the encoder layer "after" the one that the projector reads, as in the
            public code, or that layer's "own", for models whose projector reads the last.
    """

    name = "prumerge"
    paper = "LLaVA-PruMerge, ICCV 2025, arXiv 2403.15388"

    def _pick(self, attention: torch.Tensor, m: int | None) -> torch.Tensor:
        return self._outliers(attention) if m is None else _ranked(attention)[: m - 1]


@dataclass(frozen=True)
class PruMergePlus(_Merging):
    """PruMerge that also picks tokens at equal distances, behind those that it picks by attention.

    As `PruMerge`, with section 3.4. With its own count, o outliers of n tokens put the others floor(floor(n / o) / 3)
    apart, starting with the first and without those that are outliers, as the public code does: about three for each
    outlier. It has no rule that fits a given m: here, `spatial` of the m - 1 are the middles of equal stretches of what
    attention did not pick, so that none is picked twice.

    Attributes:
        spatial: share of picked tokens that lie at equal distances, where `keep` is given.
    """

    name = "prumerge+"
    paper = "LLaVA-PruMerge, ICCV 2025, arXiv 2403.15388"
    spatial: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.spatial <= 1:
            raise ValueError(f"spatial is a share in [0, 1], got {self.spatial}")

    def _pick(self, attention: torch.Tensor, m: int | None) -> torch.Tensor:
        n = len(attention)
        if m is None:
            first = self._outliers(attention)
            if not len(first):
                return first
            spread = torch.arange(0, n - 1, max(1, n // len(first) // 3), device=attention.device)
            spread = spread[~torch.isin(spread, first)]
        else:
            count = math.floor((m - 1) * Fraction(repr(float(self.spatial))) + Fraction(1, 2))
            first, rest = _ranked(attention).split([m - 1 - count, n - m + 1 + count])
            places = (2 * torch.arange(count, device=attention.device) + 1) * len(rest) // max(1, 2 * count)
            spread = rest.sort().values[places]
        return torch.cat([first, spread])


def _ranked(attention: torch.Tensor) -> torch.Tensor:
    return attention.argsort(descending=True, stable=True)
