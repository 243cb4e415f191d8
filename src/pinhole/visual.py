"""VisualTokens: one image or video as the LLM would read it."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, field

import torch

from pinhole.layout import Layout

PER_PROMPT = frozenset({"prompt_ids", "prompt_embeddings"})
"""The cues that have no entry for each visual token."""


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """One image or video as the LLM would read it, and what a method may look at to reduce it.

    Attributes:
        x: (n, d) projected features, in the order the LLM reads them.
        layout: where each of them comes from.
        pixels: the image's own pixel values as the encoder gets them, any shape.
        cues: what the method's `needs` name, by cue (see `pinhole.families.cues` and `first_layer` there).
    """

    x: torch.Tensor
    layout: Layout
    pixels: torch.Tensor
    cues: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """How many visual tokens there are."""
        return self.x.shape[0]

    @property
    def grid(self) -> tuple[int, int] | None:
        """(rows, columns) where the n tokens fill one grid row by row, else None."""
        return self.layout.grid

    @functools.cached_property
    def fingerprint(self) -> int:
        """A 32-bit checksum of the pixels: the same for an image in any batch, another for each frame of a video."""
        checksum = zlib.crc32(self.pixels.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        frame = int(self.layout.frames[0])
        return zlib.crc32(str(frame).encode(), checksum) if frame else checksum

    def take(self, indices: torch.Tensor) -> VisualTokens:
        """Some of the tokens, as if the others were not there."""
        cues = {name: cue if name in PER_PROMPT else cue[indices.to(cue.device)] for name, cue in self.cues.items()}
        return VisualTokens(self.x[indices.to(self.x.device)], self.layout.take(indices.cpu()), self.pixels, cues)
