"""VisualTokens: one image as the LLM would read it."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """One image as the LLM would read it, and what a method may look at to reduce it.

    Attributes:
        x: (n, d) projected features, in the order the LLM reads them.
        grid: (rows, columns) where the n tokens fill a grid row by row, else None.
        pixels: the image's own pixel values as the encoder gets them, any shape.
        cues: what the method's `needs` name, by cue.
    """

    x: torch.Tensor
    grid: tuple[int, int] | None
    pixels: torch.Tensor
    cues: dict[str, torch.Tensor]

    @property
    def n(self) -> int:
        """How many visual tokens there are."""
        return self.x.shape[0]

    @functools.cached_property
    def fingerprint(self) -> int:
        """A 32-bit checksum of the pixels: the same image gives the same number in any batch."""
        return zlib.crc32(self.pixels.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
