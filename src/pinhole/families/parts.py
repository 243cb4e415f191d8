"""What passes between a family and the rest: images and videos as encoded, and as decided."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.layout import Layout, View
from pinhole.visual import VisualTokens


@dataclass(frozen=True, eq=False)
class Visual:
    """One image or video of a batch: its visual tokens and where the LLM reads them.

    Attributes:
        tokens: the visual tokens.
        modality: "image" or "video".
        row: the batch row.
        columns: (n,) the columns of its placeholders in that row of the input ids; text may stand between them.
        deeper: (n, d) features that deeper LLM layers add to these tokens, one for each such layer.
    """

    tokens: VisualTokens
    modality: str
    row: int
    columns: torch.Tensor
    deeper: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Features:
    """What the encoder made of all images, or all videos, of a batch.

    Attributes:
        entries: (n_i, d) features, in the order of their placeholders.
        deeper: as in `Visual`, by layer and entry.
    """

    entries: list[torch.Tensor]
    deeper: list[list[torch.Tensor]]


@dataclass
class Decided(BaseModelOutputWithPooling):
    """Features in the place of the encoder's, by the names that transformers reads."""

    deepstack_features: list[list[torch.Tensor]] | None = None


def squares(n: int, frames: int = 1) -> Layout:
    """n tokens as one square grid a frame and separators behind them, or as tokens of no known place."""
    side = math.isqrt(n // frames)
    grids = [View(side, side, frame=frame) for frame in range(frames)]
    rest = n - frames * side * side
    return Layout.of(*grids, rest) if rest in (0, 1) and side else Layout.of(n)
