"""The abstract base of the methods inside the LLM: visual tokens leave between decoder layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

import torch

from pinhole.budget import Budget
from pinhole.reduction import Reduction


@dataclass(frozen=True, eq=False)
class LayerTokens:
    """One image's or video's visual tokens in front of a decoder layer.

    Attributes:
        layer: number of the decoder layer, from 0, that would read them next.
        cut: how many cuts there were before.
        before: how many visual tokens the image had at the LLM's input.
        hidden: (n, d) their hidden states.
        text: (t, d) hidden states of the text tokens of this turn, in their order.
        first: (before, d) the image's visual tokens at the LLM's input.
        first_text: (t, d) the text tokens at the LLM's input.
        keys: (n + t, heads, width) keys of `hidden`, then of `text`, in the layer before, positions applied.
        attend: attention to the n tokens from tokens given by their indices (T,) in `text`, then in `hidden`: (T, n),
            float32, mean over heads, a softmax over everything that they see; in the layer before, or with True in the
            layer ahead.
        behind: (t,) bool: the text tokens behind the image.
        norm: the LLM's last norm.
    """

    layer: int
    cut: int
    before: int
    hidden: torch.Tensor
    text: torch.Tensor
    first: torch.Tensor
    first_text: torch.Tensor
    behind: torch.Tensor
    keys: Callable[[], torch.Tensor]
    attend: Callable[[torch.Tensor, bool], torch.Tensor]
    norm: Callable[[torch.Tensor], torch.Tensor]

    @property
    def n(self) -> int:
        """How many visual tokens there are here."""
        return len(self.hidden)

    def last_attention(self, ahead: bool = False) -> torch.Tensor:
        """(n,): attention from the turn's last text token, or the image's own last where no text is behind it."""
        words = len(self.text)
        last = words - 1 if bool(self.behind.any()) else words + self.n - 1
        return self.attend(torch.tensor([last], device=self.hidden.device), ahead)[0]


@dataclass(frozen=True)
class LayerMethod(ABC):
    """Reduces visual tokens between the LLM's layers, each image by itself. Subclasses are frozen dataclasses.

    Attributes:
        positions: "original" leaves every token the position id it had, "compact" numbers the tokens anew in every
            layer behind a cut.

    Class attributes:
        name, paper, needs, recipe: as for an `InputMethod`.
        stage: where in the model it acts.
        watches: whether it asks for keys, or for attention in the layer in front of a cut: these are noted only then.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    stage: ClassVar[str] = "llm"
    needs: ClassVar[frozenset[str]] = frozenset()
    watches: ClassVar[bool] = False
    recipe: ClassVar[str | None] = None
    positions: Literal["original", "compact"] = "original"

    def __post_init__(self) -> None:
        if self.positions not in ("original", "compact"):
            raise ValueError(f"positions is original or compact, got {self.positions!r}")

    @property
    def adapter(self) -> str | None:
        """Folder with the LoRA weights that the LLM reads with while this method is at work; None where it has none."""
        return None

    @abstractmethod
    def cuts(self, layers: int) -> tuple[int, ...]:
        """The decoder layers, from 0 and in order, in front of which tokens leave, in an LLM of so many layers.

        Raises:
            ValueError: the LLM has too few.
        """

    @abstractmethod
    def count(self, cut: int, before: int) -> int:
        """Visual tokens that remain behind a cut, of `before` at the LLM's input; `cut` counts the cuts from 0."""

    @abstractmethod
    def reduce(self, tokens: LayerTokens) -> Reduction:
        """Decide for one image in front of one cut; no two rows of the result share an anchor.

        The result has `count(tokens.cut, tokens.before)` rows.
        """

    @abstractmethod
    def at(self, share: float, layers: int) -> Self:
        """The same method with milder or harsher settings, for comparisons at equal cost.

        Args:
            share: in (0, 1]: a larger one keeps at least as many tokens in every layer; 1 keeps all that can be kept.
            layers: of the LLM.
        """

    def settings(self) -> dict[str, Any]:
        """Every field, as JSON values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def budget(self, before: int, entering: int, layers: int) -> Budget:
        """Visual tokens in each layer, of `entering` that the LLM reads of an image of `before` tokens."""
        per_layer, alive = [], entering
        cuts = self.cuts(layers)
        for layer in range(layers):
            if layer in cuts:
                alive = self.count(cuts.index(layer), entering)
            per_layer.append(alive)
        return Budget(before, tuple(per_layer))


def check_cuts(name: str, cuts: Sequence[int], layers: int | None = None) -> tuple[int, ...]:
    """Return `cuts` where they are rising numbers of layers, from 1 on, that an LLM of so many layers has.

    Args:
        name: of the method.
        cuts: as in `LayerMethod.cuts`.
        layers: of the LLM; None checks what can be known without it.

    Raises:
        ValueError: they are not.
    """
    numbers = cuts if isinstance(cuts, tuple | list) else ()
    rise = all(isinstance(cut, int) for cut in numbers) and list(numbers) == sorted(set(numbers))
    if not numbers or not rise or numbers[0] < 1 or (layers is not None and numbers[-1] >= layers):
        shown = ", ".join(map(str, numbers)) or repr(cuts)
        has, end = ("", "on") if layers is None else (f", this LLM has layers 0 to {layers - 1}", f"to {layers - 1}")
        raise ValueError(f"{name} drops tokens in front of layers {shown}{has}: give rising numbers from 1 {end}")
    return tuple(numbers)


def in_proportion(cuts: tuple[int, ...], layers: int, chosen_for: int = 32) -> tuple[int, ...]:
    """Cuts that were chosen for an LLM of `chosen_for` layers, for one of `layers`.

    They are at the same shares of its depth, rounded down; at layer 1 at the earliest and no two at one layer.
    """
    scaled = [0]
    for cut in cuts:
        scaled.append(max(cut * layers // chosen_for, scaled[-1] + 1))
    return tuple(scaled[1:])


def are_falling_shares(values: object) -> bool:
    """Whether these are shares in (0, 1], at least one, of which none is larger than the one before."""
    if not isinstance(values, tuple | list) or not values or not all(isinstance(share, float) for share in values):
        return False
    return values[-1] > 0 and values[0] <= 1 and list(values) == sorted(values, reverse=True)
