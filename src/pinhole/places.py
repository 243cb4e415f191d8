"""Where visual tokens come from, as numbers that a network can read, the same for any resolution."""

from __future__ import annotations

import torch

from pinhole.layout import Layout

OCTAVES = 4
NUMBERS = 3 * 2 * OCTAVES + 1
"""How many numbers there are for each token."""


def places(layout: Layout) -> torch.Tensor:
    """(n, NUMBERS) float32 for the n tokens of a picture or video.

    The centre of what a token shows (down, across, and of a video the frame), each a share of the whole, as sin and cos
    of pi, 2 pi, 4 pi and 8 pi times it; and a 1 where it shows no place, as separators do, whose other numbers are 0.
    """
    boxes = layout.boxes().float()
    last = max(1, int(layout.frames.max())) if layout.n else 1
    centre = torch.stack(((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2, layout.frames / last), 1)
    angles = centre[:, :, None] * torch.pi * 2.0 ** torch.arange(OCTAVES)
    nowhere = boxes.isnan().any(1, keepdim=True)
    told = torch.cat((angles.sin().flatten(1), angles.cos().flatten(1)), 1)
    return torch.cat((told.masked_fill(nowhere, 0.0), nowhere.float()), 1)
