"""Oracle: what an answer did rest on, looked up; the best that `relevance` can hope for."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from pinhole.explain.labels import read_labels
from pinhole.method import TrainingFree
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


@dataclass(frozen=True, kw_only=True)
class Oracle(TrainingFree):
    """Keep the tokens with the largest relevance R_v, given as labels of the same images.

    The upper bound of "Task-Related Token Compression in Multimodal Large Language Models from an Explainability
    Perspective", ICLR 2026, arXiv 2506.01097: pruning by the labels themselves. Kept tokens stay in the order of the
    image; ties go to the earlier token.

    An image is known by its fingerprint, a checksum of the pixels that the encoder gets. Where it has several labels,
    of several dialogues or turns, the mean of R_v / sum R_v counts: no answer weighs more than another. Images and
    videos are reduced whole, their separators among them (see `Scope`).

    Attributes:
        labels: folder written by `pinhole label --all-answers`, on the same model and dialogues.
        question: "first" looks at each dialogue's first question, when the selection is made; "all" at every question
            about the image, of which only an oracle knows.
    """

    name = "oracle"
    paper = "Upper bound of the explainability compressor, ICLR 2026, arXiv 2506.01097"
    labels: str
    question: Literal["first", "all"] = "first"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.question not in ("first", "all"):
            raise ValueError(f"question is first or all, got {self.question!r}")
        if not isinstance(self.labels, str):
            raise TypeError(f"labels is the name of a folder, got {self.labels!r}")
        if not Path(self.labels).is_dir():
            raise ValueError(f"no folder {self.labels!r} with labels: {self._remedy}")

    def reduce(self, image: VisualTokens) -> Reduction:
        """The m most relevant tokens.

        Raises:
            ValueError: no labels of this image, or they are of another number of tokens.
        """
        relevance = _relevance(self.labels, self.question, _written(self.labels)).get(image.fingerprint)
        if relevance is None:
            asked = "the first question" if self.question == "first" else "any question"
            raise ValueError(f"{self.labels} holds no labels of {asked} about one of the images: {self._remedy}")
        if len(relevance) != image.n:
            raise ValueError(
                f"{self.labels} labels {len(relevance)} visual tokens of an image, and oracle was asked for {image.n}: "
                "it reduces images and videos whole (leave separators and video as they are by default)"
            )
        order = relevance.argsort(descending=True, stable=True)
        return Reduction.select(order[: self.count(image.n)].sort().values.to(image.x.device), image.n)

    @property
    def _remedy(self) -> str:
        turns = "" if self.question == "first" else " --turns all"
        return (
            "write them with the same model, dtype and pictures, pinhole label --all-answers"
            f"{turns} --model MODEL --data DIALOGUES --out FOLDER"
        )


def _written(folder: str) -> int:
    """When a file of the folder was last written, in nanoseconds."""
    return max((path.stat().st_mtime_ns for path in Path(folder).iterdir()), default=0)


@functools.lru_cache(maxsize=4)
def _relevance(folder: str, question: str, _changed: int) -> dict[int, torch.Tensor]:
    """Mean share of R_v (n,) of each image, by its fingerprint."""
    found: dict[int, list[torch.Tensor]] = {}
    for label in read_labels(Path(folder)):
        if question == "all" or label.turn == 0:
            for fingerprint, relevance in zip(label.fingerprints, label.relevance, strict=True):
                found.setdefault(fingerprint, []).append(relevance / relevance.sum().clamp_min(1e-30))
    return {fingerprint: torch.stack(shares).mean(0) for fingerprint, shares in found.items()}
