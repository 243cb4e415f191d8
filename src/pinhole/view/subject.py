"""What there is to see of a picture or a video: what methods decided, and what an answer rests on. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from pinhole.budget import Keep
from pinhole.layout import Layout
from pinhole.reduction import Reduction

Modality = Literal["image", "video"]


@dataclass(frozen=True, eq=False)
class Stage:
    """A stretch of the LLM's layers that read the same visual tokens.

    Attributes:
        first: number of its first layer, from 0.
        last: number of its last layer.
        alive: (m,) int64, of each token that is left the visual token of the picture in whose place it stands.
        reduction: of all n visual tokens to these.
    """

    first: int
    last: int
    alive: torch.Tensor
    reduction: Reduction


@dataclass(frozen=True, eq=False)
class Decision:
    """What a method decided for one picture or video.

    Attributes:
        method: what to call it.
        keep: share or count that was asked for, whether or not the method takes one; None where nobody asked.
        reduction: at the LLM's input, with its layout.
        cuts: inside the LLM, by the decoder layer in front of which tokens leave: of the tokens that were left there.
        layers: how many the LLM has; 0 where nobody said, and then there are no cuts.
    """

    method: str
    keep: Keep | None
    reduction: Reduction
    cuts: dict[int, Reduction] = field(default_factory=dict)
    layers: int = 0

    @property
    def layout(self) -> Layout:
        """Where the visual tokens come from."""
        assert self.reduction.layout is not None, "a decision knows where its tokens come from"
        return self.reduction.layout

    def stages(self) -> list[Stage]:
        """The stretches of layers between cuts, the first from layer 0; one for a reduction at the input alone.

        Behind a cut tokens stand in the order of their anchors, as in the prompt.
        """
        starts, stages = [0, *sorted(self.cuts)], []
        reduction, alive = self.reduction, self.reduction.anchors.cpu()
        for i, start in enumerate(starts):
            if start in self.cuts:
                cut = self.cuts[start]
                cut = cut.reorder(cut.anchors.argsort())
                reduction, alive = reduction.then(cut), alive[cut.anchors.cpu()]
            end = starts[i + 1] if i + 1 < len(starts) else max(self.layers, 1)
            stages.append(Stage(start, end - 1, alive, reduction))
        return stages

    def per_layer(self) -> list[int]:
        """Visual tokens alive in each layer; empty where the number of layers is not known."""
        return [len(stage.alive) for stage in self.stages() for _ in range(stage.first, stage.last + 1)][: self.layers]


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture or video with one question.

    Attributes:
        picture: number of the picture or video among those that are drawn.
        name: of its file.
        modality: "image" or "video".
        size: (width, height) in pixels; None where nobody said.
        frames: of a video, as the model read it; 1 for an image.
        question: the words that were asked about it; None where nothing was.
        instead: what methods that read a question read then; None where there are none.
        answer: the uncompressed model's; None where it was not asked.
        decisions: of every method at every keep.
        relevance: (n,) of each visual token, by what it is.
    """

    picture: int
    name: str
    modality: Modality
    size: tuple[int, int] | None
    frames: int
    question: str | None
    instead: str | None
    answer: str | None
    decisions: list[Decision]
    relevance: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Where its visual tokens come from."""
        return self.decisions[0].layout

    @property
    def told(self) -> list[str]:
        """What was asked and answered, a sentence each."""
        asked = f"Asked: {self.question}" if self.question is not None else None
        if self.instead is not None:
            asked = f"Nothing was asked: methods that read a question read “{self.instead}”"
        answered = f"Answered, uncompressed: {self.answer}" if self.answer is not None else None
        return [words for words in (asked, answered) if words]

    @property
    def methods(self) -> list[str]:
        """Those that decided, in order."""
        return list(dict.fromkeys(decision.method for decision in self.decisions))

    @property
    def keeps(self) -> list[Keep | None]:
        """What they were asked to keep, in order."""
        return list(dict.fromkeys(decision.keep for decision in self.decisions))
