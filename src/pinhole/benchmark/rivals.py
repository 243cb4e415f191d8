"""What is measured beside the methods themselves: the limit, and what a method inside the LLM does there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

import torch

from pinhole.budget import Keep, kept_tokens
from pinhole.evaluation.contender import Contender
from pinhole.layer_method import LayerMethod, LayerTokens
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens

LIMIT = "limit"
"""The name of a contender that got its tokens for free."""


@dataclass(frozen=True, kw_only=True)
class Handed(TrainingFree):
    """The same model given m visual tokens for free: which ones was settled beforehand, nothing is decided or mixed.

    The picture is encoded as for every method; what is left out is everything that a method does.

    Attributes:
        given: what was settled, for every image the same.
    """

    name = LIMIT
    paper = "what no method can be faster than"
    given: Reduction

    def reduce(self, image: VisualTokens) -> Reduction:
        """What was settled."""
        return self.given


def limit(n: int, keep: Keep, device: torch.device) -> Contender:
    """The model given `kept_tokens(n, keep)` of n visual tokens for free, the first ones."""
    m = kept_tokens(n, keep)
    method = Handed(keep=keep, given=Reduction.select(torch.arange(m, device=device), n))
    return Contender(f"{LIMIT} {m} of {n}", (method,), keep)


@dataclass(frozen=True, kw_only=True)
class Watched(LayerMethod):
    """A method inside the LLM as it is, but that every decision is made within a block that `around` opens.

    Attributes:
        inner: the method.
        around: what to do before and after.
    """

    inner: LayerMethod
    around: Callable[[], AbstractContextManager[object]]

    def __post_init__(self) -> None:
        for name in ("name", "paper", "watches", "positions"):
            object.__setattr__(self, name, getattr(self.inner, name))

    @property
    def adapter(self) -> str | None:
        """The method's."""
        return self.inner.adapter

    def cuts(self, layers: int) -> tuple[int, ...]:
        """The method's."""
        return self.inner.cuts(layers)

    def count(self, cut: int, before: int) -> int:
        """The method's."""
        return self.inner.count(cut, before)

    def at(self, share: float, layers: int) -> Self:
        """As the method's."""
        return type(self)(inner=self.inner.at(share, layers), around=self.around)

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """What the method decides."""
        with self.around():
            return self.inner.reduce(tokens)
