"""VILA-1.5: Pinhole's own port (`pinhole.models.vila`), one square image of fixed size, 1-D RoPE."""

from __future__ import annotations

from typing import Any

import torch

from pinhole.families.base import Family
from pinhole.families.cues import Encoder, averaged
from pinhole.families.parts import squares
from pinhole.layout import Layout, View


class Vila(Family):
    """SigLIP patches, joined two by two where the projector is "mlp_downsample": these tokens run down the columns.

    Frames of a video are images. The boxes are those of pictures that the processor stretched to the square ("resize").
    """

    @property
    def joined(self) -> bool:
        """Whether one visual token is made of two by two patches."""
        return self.model.config.projector_type == "mlp_downsample"

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """SigLIP."""
        layers = self.model.base_model.vision_tower.encoder.layers
        return Encoder(layers, self.model.config.vision_feature_layer % (len(layers) + 1) - 1)

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the patches that are joined; the grid's edge may have fewer."""
        if not self.joined:
            return patches
        images = len(inputs["pixel_values"])
        grids = averaged(patches, images, 2).unflatten(0, (images, self._side, self._side))
        return grids.transpose(1, 2).flatten(0, 2)

    @property
    def _side(self) -> int:
        vision = self.model.config.vision_config
        return (vision.image_size // vision.patch_size + 1) // 2

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """One grid, which reaches beyond the picture where its patches are odd in number."""
        if not self.joined:
            return [squares(length) for length in lengths]
        vision, side = self.model.config.vision_config, self._side
        reach = 2 * side * vision.patch_size / vision.image_size
        cells = torch.arange(side * side).view(side, side).T.flatten()
        view = View(side, side, (0.0, 0.0, reach, reach))
        return [Layout((view,), torch.zeros_like(cells), cells) for _ in lengths]
