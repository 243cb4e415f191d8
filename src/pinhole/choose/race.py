"""Who leaves and who holds, look by look: the decisions of a search, from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pinhole.choose.betting import less_than, more_than

State = Literal["open", "holds", "loses", "beaten", "dearer"]
"""Of a setting: undecided; shown to hold; shown not to; shown to be less accurate than one that it should not be less
accurate than; no cheaper than one that holds."""


def looks(dialogues: int, first: int) -> list[int]:
    """How many dialogues have been held at each look: twice as many each time, all of them at the last."""
    sizes = []
    while first < dialogues:
        sizes.append(first)
        first *= 2
    return [*sizes, dialogues]


@dataclass
class Race:
    """A search among settings.

    With a bound on the loss, the cheapest setting that holds it is looked for. A setting *holds* when the evidence that
    it loses less than the bound errs with a probability of (1 - confidence) / K at most, K being the number of settings
    at the start: all settings and all looks together, one that does not hold is said to with a probability of
    1 - confidence at most. It leaves when it *loses* more than the bound, with the evidence of one test; when it is
    *beaten*, less accurate than one that costs no more; or when it is *dearer*, as dear as one that holds.

    Without one, the most accurate setting is looked for, and a setting leaves when any other beats it.

    Attributes:
        costs: of each setting, by its name.
        longest: turns of the longest dialogue.
        max_loss: the bound, a fraction of 1, or None.
        confidence: the least probability with which all that is said to hold does.
        states: of each setting.
    """

    costs: Mapping[str, float]
    longest: int
    max_loss: float | None
    confidence: float = 0.95
    states: dict[str, State] = field(init=False)

    def __post_init__(self) -> None:
        self.states = dict.fromkeys(self.costs, "open")

    @property
    def level(self) -> float:
        """The probability of an error that each setting is given."""
        return (1 - self.confidence) / len(self.costs)

    @property
    def alive(self) -> list[str]:
        """Those that are undecided."""
        return [name for name, state in self.states.items() if state == "open"]

    def look(self, right: Mapping[str, np.ndarray], full: np.ndarray, asked: np.ndarray) -> None:
        """Decide on what is known of the dialogues so far.

        Args:
            right: of each setting that is alive, (D,) turns answered right in each dialogue.
            full: (D,) those of the uncompressed model.
            asked: (D,) turns in each dialogue.
        """
        here = self.alive
        if self.max_loss is not None:
            for name in here:
                lost = full - right[name]
                if less_than(self.max_loss, lost, asked, self.longest) >= -math.log(self.level):
                    self.states[name] = "holds"
                elif more_than(self.max_loss, lost, asked, self.longest) >= -math.log(1 - self.confidence):
                    self.states[name] = "loses"
        for name in self.alive:
            if any(self._beats(other, name, right, asked) for other in here if other != name):
                self.states[name] = "beaten"
        cheapest = min((self.costs[name] for name, state in self.states.items() if state == "holds"), default=math.inf)
        for name in self.alive:
            if self.costs[name] >= cheapest:
                self.states[name] = "dearer"

    def _beats(self, one: str, other: str, right: Mapping[str, np.ndarray], asked: np.ndarray) -> bool:
        """Whether one is more accurate than the other, and as cheap where the cheapest is looked for."""
        if self.max_loss is not None and self.costs[one] > self.costs[other]:
            return False
        return more_than(0.0, right[one] - right[other], asked, self.longest) >= -math.log(self.level)

    def chosen(self, accuracy: Mapping[str, float]) -> str | None:
        """The cheapest that holds; without a bound on the loss, the most accurate of those that are left.

        Args:
            accuracy: of each setting; it decides among equally cheap ones, and cost among equally accurate ones.
        """
        if self.max_loss is None:
            return max(self.alive, key=lambda name: (accuracy[name], -self.costs[name]), default=None)
        holding = [name for name, state in self.states.items() if state == "holds"]
        return min(holding, key=lambda name: (self.costs[name], -accuracy[name]), default=None)
