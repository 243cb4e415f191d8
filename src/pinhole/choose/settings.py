"""What is searched, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pinhole.budget import Keep
from pinhole.choose.bounds import Bounds


@dataclass(frozen=True)
class SearchSettings:
    """What is searched, and how.

    Attributes:
        methods: specifications.
        keeps: shares or counts.
        bounds: what holds.
        cost: what is cheap: "flops" of the first turn's prefill, or "ttft", the time to the first token.
        first: dialogues of the first look; each later one has twice as many.
        ttft_dialogues: dialogues to time the first token on.
        seed: of the dialogues' order.

    Raises:
        ValueError: a value that is not allowed.
    """

    methods: tuple[str, ...]
    keeps: tuple[Keep, ...]
    bounds: Bounds
    cost: Literal["flops", "ttft"] = "flops"
    first: int = 16
    ttft_dialogues: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cost not in ("flops", "ttft"):
            raise ValueError(f"cost is flops or ttft, got {self.cost!r}")
        if min(self.first, self.ttft_dialogues) < 1:
            raise ValueError("the first look and the timing take at least 1 dialogue")

    @property
    def times(self) -> bool:
        """Whether the time to the first token matters."""
        return self.cost == "ttft" or self.bounds.max_ttft_ms is not None
