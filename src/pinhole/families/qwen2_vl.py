"""Qwen2-VL: `Qwen2VLForConditionalGeneration`, images and videos of any size, M-RoPE."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from pinhole.families.base import Family
from pinhole.families.cues import Encoder
from pinhole.layout import Layout, View
from pinhole.scope import Positions


class Qwen2VL(Family):
    """Patches merged two by two; ids of time, height and width for every visual token.

    The model keeps the offset of text positions behind images (`rope_deltas`) as its own state, which two conversations
    would share: positions are always passed, and the state is only set for loops outside Pinhole.
    """

    positions: ClassVar[Positions] = "original"
    pixel_inputs: ClassVar[dict[str, str]] = {"image": "pixel_values", "video": "pixel_values_videos"}
    spent_inputs: ClassVar[tuple[str, ...]] = (
        "mm_token_type_ids",
        "image_grid_thw",
        "video_grid_thw",
        "second_per_grid_ts",
    )

    def grids(self, modality: str, inputs: dict[str, Any]) -> torch.Tensor:
        """(N, 3) patches along time, height and width of each image or video."""
        return inputs[f"{modality}_grid_thw"]

    @property
    def merge(self) -> int:
        """Patches along each side of a visual token."""
        return self.model.config.vision_config.spatial_merge_size

    def encoder(self, inputs: dict[str, Any]) -> Encoder:
        """Attention within each image, or within each step in time of a video; the last layer is what is read."""
        blocks = self.model.base_model.visual.blocks
        return Encoder(blocks, len(blocks) - 1, attention="attn")

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """The mean over the patches that are merged: they follow each other."""
        return patches.unflatten(0, (-1, self.merge**2)).mean(1)

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """One grid for each step in time."""
        return [
            Layout.of(*(View(rows // self.merge, columns // self.merge, frame=step) for step in range(steps)))
            for steps, rows, columns in self.grids(modality, inputs).tolist()
        ]

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """Each image's or video's patches."""
        patches = [length * self.merge**2 for length in lengths]
        return list(inputs[self.pixel_inputs[modality]].split(patches))

    def full_positions(self, inputs: dict[str, Any], mask: torch.Tensor) -> torch.Tensor:
        """(3, B, L), as the model itself would number the prompt."""
        given = inputs.get("position_ids")
        if given is not None:
            return given[-3:].expand(3, *mask.shape) if given.dim() == 3 else given.expand(3, *mask.shape)
        ids = inputs["input_ids"]
        types = inputs.get("mm_token_type_ids")
        if types is None:
            types = (ids == self.token_id("image")).long() + 2 * (ids == self.token_id("video")).long()
        known = {name: inputs[name] for name in self.spent_inputs[1:] if inputs.get(name) is not None}
        return self.model.base_model.get_rope_index(ids, mm_token_type_ids=types, attention_mask=mask, **known)[0]

    def remember(self, positions: torch.Tensor | None, mask: torch.Tensor) -> None:
        """`rope_deltas`: what must be added to a count of tokens to get the next text position."""
        if positions is not None:
            last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(-1, keepdim=True)
            self.model.base_model.rope_deltas = positions[-1].gather(1, last) + 1 - mask.sum(-1, keepdim=True)
