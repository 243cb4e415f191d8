"""What a user asks of a setting."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MS = {"ms": 1.0, "s": 1000.0, "": 1.0}


@dataclass(frozen=True)
class Bounds:
    """What holds.

    Attributes:
        max_loss: accuracy over all turns that may be lost against the uncompressed model, a fraction of 1; None where
            the most accurate setting is wanted.
        max_ttft_ms: milliseconds to the first token, the median; None for any.
        confidence: the least probability that a setting which is said to hold `max_loss` does.

    Raises:
        ValueError: nothing is asked, or a value is out of its range.
    """

    max_loss: float | None = None
    max_ttft_ms: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.max_loss is None and self.max_ttft_ms is None:
            raise ValueError(
                "nothing is asked of a setting: give --max-loss such as 1%, --max-ttft such as 150ms, or both"
            )
        if self.max_loss is not None and not 0 < self.max_loss < 1:
            raise ValueError(f"the loss that is allowed lies between 0 and 1 (100 %), got {self.max_loss}")
        if self.max_ttft_ms is not None and not self.max_ttft_ms > 0:
            raise ValueError(f"a time to the first token is above 0, got {self.max_ttft_ms} ms")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence lies between 0 and 1, got {self.confidence}")


def parse_loss(text: str) -> float:
    """A loss of accuracy as a fraction of 1: "0.01" or "1%".

    Raises:
        ValueError: neither.
    """
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        return float(number) / (100 if percent else 1)
    except ValueError as error:
        raise ValueError(f"--max-loss {text}: give a share such as 0.01, or percentage points such as 1%") from error


def parse_ms(text: str) -> float:
    """A time in milliseconds: "150ms", "150" or "0.15s".

    Raises:
        ValueError: none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|)\s*", text)
    if found is None:
        raise ValueError(f"--max-ttft {text}: give milliseconds such as 150ms, or seconds such as 0.15s")
    return float(found[1]) * _MS[found[2]]
