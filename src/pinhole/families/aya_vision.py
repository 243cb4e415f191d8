"""Aya Vision: `AyaVisionForConditionalGeneration`, tiles with their numbers between them and an overview, 1-D RoPE."""

from __future__ import annotations

from pinhole.families.mosaic import Run, Sized


class AyaVision(Sized):
    """The token that ends a picture, which is the one behind the prompt's last tile, comes between two pictures."""

    @property
    def side(self) -> int:
        """Visual tokens along a tile."""
        vision = self.model.config.vision_config
        return vision.image_size // vision.patch_size // self.model.config.downsample_factor

    def is_same_picture(self, run: Run, following: Run) -> bool:
        """Unless the picture ends behind the first run."""
        last = int((run.ids == run.ids[run.start]).nonzero()[-1])
        return bool(run.ids[run.end] != run.ids[last + 1])
