"""Scope: how a method is applied to what a model reads, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

Positions = Literal["compact", "original"]


@dataclass(frozen=True)
class Scope:
    """How a reduction is applied.

    Attributes:
        positions: position ids of the visual tokens that remain: "compact" numbers the shortened prompt anew,
            "original" gives each token the id of its anchor and leaves the text's ids as they were. None is the
            family's choice: compact for 1-D RoPE, original for M-RoPE.
        video: "whole" reduces a video as one unit, "frame" each of its frames on its own.
        separators: "reduce" treats the newlines of tiled images as visual tokens like others, "keep" leaves every one
            in its place and reduces the tokens between them.

    Raises:
        ValueError: another value.
    """

    positions: Positions | None = None
    video: Literal["whole", "frame"] = "whole"
    separators: Literal["reduce", "keep"] = "reduce"

    def __post_init__(self) -> None:
        if self.positions not in (None, "compact", "original"):
            raise ValueError(f"positions is compact, original or None; got {self.positions!r}")
        if self.video not in ("whole", "frame"):
            raise ValueError(f"video is whole or frame, got {self.video!r}")
        if self.separators not in ("reduce", "keep"):
            raise ValueError(f"separators is reduce or keep, got {self.separators!r}")


class ScopeOptions(TypedDict, total=False):
    """The fields of `Scope` as keyword arguments."""

    positions: Positions | None
    video: Literal["whole", "frame"]
    separators: Literal["reduce", "keep"]
