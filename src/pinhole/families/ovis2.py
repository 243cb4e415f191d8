"""Ovis2: `Ovis2ForConditionalGeneration`, an overview and tiles with marks of rows and columns between, 1-D RoPE."""

from __future__ import annotations

from typing import ClassVar

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.families.mosaic import Mosaic, Run


class Ovis2(Mosaic):
    """One mark ("<IMG_GRID>", "<IMG_COL>" or "<IMG_ROW>") stands between two tiles of a picture.

    The embeddings of these marks come out of the encoder too: they are handed on with the features.
    """

    overview_first: ClassVar[bool] = True

    @property
    def side(self) -> int:
        """Visual tokens along a tile."""
        vision = self.model.config.vision_config
        return -(-vision.image_size // vision.patch_size // vision.hidden_stride)

    def is_same_picture(self, run: Run, following: Run) -> bool:
        """Where a single token is between."""
        return following.start == run.end + 1

    def arrangement(self, picture: list[Run], tiles: int, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """Counted in the prompt."""
        next_row = self.model.config.visual_indicator_token_ids[3]
        down = 1 + sum(int(run.ids[run.end]) == next_row for run in picture)
        return down, tiles // down

    def ready(self, outputs: dict[str, BaseModelOutputWithPooling]) -> dict[str, BaseModelOutputWithPooling]:
        """With the marks' embeddings."""
        outputs, model = super().ready(outputs), self.model.base_model
        marks = range(model.visual_vocab_size - len(model.visual_indicator_token_ids), model.visual_vocab_size)
        for output in outputs.values():
            output.visual_indicator_features = model.visual_embeddings_table(
                torch.tensor(marks, device=self.model.device)
            )
        return outputs
