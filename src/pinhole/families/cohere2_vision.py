"""Command A Vision: `Cohere2VisionForConditionalGeneration`, tiles with line breaks between and an overview."""

from __future__ import annotations

from pinhole.families.mosaic import Run, Sized


class Cohere2Vision(Sized):
    """One line break parts the tiles of a picture; more tokens part pictures."""

    @property
    def side(self) -> int:
        """Visual tokens along a tile."""
        vision = self.model.config.vision_config
        return vision.image_size // vision.patch_size // self.model.config.downsample_factor

    def is_same_picture(self, run: Run, following: Run) -> bool:
        """Where a single token is between."""
        return following.start == run.end + 1

    def arrangement(self, picture: list[Run], tiles: int, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """The canvas that the picture must be enlarged least for, or, if all are too small for it, shrunk least."""
        if size is None:
            return None
        side = self.model.config.vision_config.image_size
        canvases = [(tiles // across, across) for across in range(1, tiles + 1) if tiles % across == 0]
        scales = [min(across * side / size[1], down * side / size[0]) for down, across in canvases]
        large = [scale for scale in scales if scale >= 1]
        return canvases[scales.index(min(large) if large else max(scales))]
