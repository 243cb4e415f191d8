"""The abstract base of every method: it decides, it never edits a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

import torch

from pinhole.budget import Keep, check_keep, kept_tokens
from pinhole.hub import HubWeights
from pinhole.layout import Layout
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


class InputMethod(ABC):
    """Reduces an image's visual tokens before the LLM reads them.

    A method holds its settings and, where it was learned, its weights; nothing about any one request.

    Class attributes:
        name: the name in the registry, on the command line and in results.
        paper: where it is from.
        needs: the cues it reads beside X; a family must provide them. Where a setting decides which, the instance has
            its own and the class that of the default.
        stage: where in the model it acts.
        recipe: how it learns, by the name in `pinhole.training.recipes`; None where there is nothing to learn.
        keep: share or count of visual tokens that remain; None where a method decides by the content.
        turns: "first": in a dialogue it decides once, when an image comes. "each": it decides anew at every turn, for
            every image so far, and the LLM reads the whole dialogue again: for methods that read the question.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    stage: ClassVar[str] = "input"
    recipe: ClassVar[str | None] = None
    keep: Keep | None
    turns: Literal["first", "each"] = "first"

    @abstractmethod
    def reduce(self, image: VisualTokens) -> Reduction:
        """Decide for one image or video. The result has exactly the rows that `count(image.n, image.layout)` says."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`, as JSON values."""

    def count(self, n: int, layout: Layout | None = None) -> int | None:
        """How many of n visual tokens remain; None where that depends on the content: only `reduce` tells.

        Args:
            n: visual tokens as encoded.
            layout: where they come from, for methods whose count depends on it.

        Raises:
            ValueError: `keep` is a count above n.
        """
        return None if self.keep is None else kept_tokens(n, self.keep)

    def flops(self, n: int, m: int, width: int) -> int:
        """Floating point operations of the decision and of forming the kept tokens; 0 for picking tokens."""
        return 0


@dataclass(frozen=True)
class TrainingFree(InputMethod):
    """A method that is its settings and nothing else: subclasses are frozen dataclasses.

    Attributes:
        keep: the share (float in (0, 1]) or count (int) of visual tokens that remain.
    """

    keep: Keep = 0.1

    def __post_init__(self) -> None:
        check_keep(self.keep)
        check_turns(self.turns)

    def count(self, n: int, layout: Layout | None = None) -> int:
        """As in `InputMethod`; known before anything runs."""
        return kept_tokens(n, self.keep)

    def settings(self) -> dict[str, Any]:
        """Every field but `keep`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "keep"}


class Learned(torch.nn.Module, HubWeights, InputMethod):
    """A method with weights that are trained for one LLM width: a torch module that saves and loads as others do.

    Attributes:
        width: of the LLM that it was made for.
    """

    recipe: ClassVar[str | None] = "distillation"
    keep: Keep
    width: int

    @classmethod
    @abstractmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width, decided by `seed`."""

    def count(self, n: int, layout: Layout | None = None) -> int:
        """As in `InputMethod`; known before anything runs."""
        return kept_tokens(n, self.keep)


def check_turns(turns: object) -> None:
    """Refuse a value of `InputMethod.turns` that there is not.

    Raises:
        ValueError: it is not.
    """
    if turns not in ("first", "each"):
        raise ValueError(f"turns is first or each, got {turns!r}")


def on_patches(image: VisualTokens, m: int | None, decide: Callable[[VisualTokens], Reduction]) -> Reduction:
    """What `decide` makes of the tokens that show a part of the picture; separators go.

    For methods that compare cues of the encoder, which separators such as newlines do not have: by their zeros they
    would all be alike, and like nothing else. (`Scope` says whether separators are put to a method at all.)

    Args:
        image: with or without separators.
        m: rows of the result, or None. Where fewer tokens than m are no separators, `decide` gets all of them.
        decide: asked once.
    """
    patches = (~image.layout.separators).nonzero()[:, 0]
    if len(patches) == image.n or len(patches) < (m or 1):
        return decide(image)
    return Reduction.join([(patches.to(image.x.device), decide(image.take(patches)))], image.n)
