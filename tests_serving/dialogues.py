"""The dialogues that are asked of both: pictures and films from seeds, and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SECOND = "\nuser: And which colour has it, would you say?\nassistant: "
FPS = 2.0
MARKS = {
    "qwen": {
        "image": "<|vision_start|><|image_pad|><|vision_end|>",
        "video": "<|vision_start|><|video_pad|><|vision_end|>",
    },
    "llava": {"image": "<image>", "video": "<video>"},
}


@dataclass(frozen=True)
class Dialogue:
    """One picture or several, or a film, and two turns.

    Attributes:
        images: (height, width, seed) of each.
        video: (frames, height, width, seed).
        question: of the first turn, behind them.
    """

    images: tuple[tuple[int, int, int], ...] = ()
    video: tuple[int, int, int, int] | None = None
    question: str = "What is shown here?"

    def first(self, family: str) -> str:
        """The words of the first turn, as the checkpoints' chat template writes a dialogue."""
        marks = MARKS["qwen" if family.startswith("qwen") else "llava"]
        shown = "".join(marks["image"] + "\n" for _ in self.images) + (marks["video"] + "\n" if self.video else "")
        return f"user: {shown}{self.question}\nassistant: "


def picture(height: int, width: int, seed: int) -> Image.Image:
    """Noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def film(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """A film whose frames differ."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def metadata(frames: int) -> dict[str, Any]:
    """As a reader of files gives it."""
    return {
        "fps": FPS,
        "duration": frames / FPS,
        "total_num_frames": frames,
        "frames_indices": list(range(frames)),
        "video_backend": "opencv",
    }
