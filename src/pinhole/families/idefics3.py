"""Idefics3: `Idefics3ForConditionalGeneration`, tiles with text between them and an overview, 1-D RoPE."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel

from pinhole.families.mosaic import Mosaic, Run


class Idefics3(Mosaic):
    """The processor squeezes a picture so that whole tiles fit it.

    The encoder gives one entry for each prompt, all its tiles in a row; the text around them tells whose they are: in a
    row of tiles, two tokens part one from the next ("<fake_token_around_image><row_1_col_2>"), before the next row and
    before the overview comes a line break, and behind the overview the first of those two tokens ends the picture.
    """

    stacked: ClassVar[frozenset[str]] = frozenset()

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM, whose decoder layers are its `layers`."""
        return self.model.base_model.text_model

    @property
    def side(self) -> int:
        """Visual tokens along a tile."""
        return math.isqrt(self.model.base_model.image_seq_len)

    def is_same_picture(self, run: Run, following: Run) -> bool:
        """Unless the first run is an overview."""
        mark = following.ids[following.start - 2]
        return _is_same_row(run, following) or bool(run.ids[run.end] != mark)

    def arrangement(self, picture: list[Run], tiles: int, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Counted in the prompt."""
        across = 1
        while _is_same_row(picture[across - 1], picture[across]):
            across += 1
        return tiles // across, across

    def tiles(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Those that are not empty: empty ones fill the batch up."""
        tiles = inputs["pixel_values"].flatten(0, 1)
        return tiles[tiles.flatten(1).any(1)]


def _is_same_row(run: Run, following: Run) -> bool:
    return following.start - run.end == 2
