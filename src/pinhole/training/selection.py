"""VisionSelector's recipe: a soft top-k that is made to harden while the answers are learned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from pinhole.families.parts import Visual
from pinhole.methods.full import Full
from pinhole.methods.visionselector import VisionSelector
from pinhole.scope import Scope
from pinhole.training.error import TrainingError
from pinhole.training.on_dialogues import OnDialogues
from pinhole.training.recipe import Part, Step, Task
from pinhole.training.settings import TrainSettings
from pinhole.training.soft_top_k import soft_top_k
from pinhole.training.teacher import answer_outputs


@dataclass(frozen=True)
class SelectionOptions:
    """Of the loss L = cross-entropy of the answers + weight * BCE(soft mask, hard mask).

    Attributes:
        weight_start: of the second term at the first step.
        weight_end: at the last; it changes linearly. The paper's code has 0.1 and 3.
    """

    weight_start: float = 0.1
    weight_end: float = 3.0

    def __post_init__(self) -> None:
        if min(self.weight_start, self.weight_end) < 0:
            raise ValueError("weight_start and weight_end are not below 0")


class Selection(OnDialogues):
    """VisionSelector, arXiv 2510.16598: all visual tokens stay and are multiplied by the soft mask of their scores.

    The scores learn from the answers alone, through the mask; the second term pushes the mask to the hard top-k that is
    used at inference. Defaults are the public code's (one epoch, batch
    128, 5e-5, clipping at 1).
    """

    defaults = TrainSettings(epochs=1, batch=128, lr=5e-5, clip=1.0)
    options = SelectionOptions

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if task.settings.scope != Scope():
            raise ValueError(
                "nothing leaves while VisionSelector learns: choose positions and the like where it is used"
            )

    def read(self, indices: list[int], step: Step) -> Part:
        """Tokenise dialogues and load their pictures."""
        inputs, counts = self._read(indices)
        return Part(inputs, {"answers": counts["tokens"], "hardness": counts["images"]})

    def weights(self, step: Step) -> dict[str, float]:
        """That of the mask's hardness changes with the steps."""
        start, end = self._options.weight_start, self._options.weight_end
        return {"answers": 1.0, "hardness": start + (end - start) * step.progress}

    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """Cross-entropy over answer tokens, BCE over images."""
        inputs = part.content
        with torch.no_grad():
            visuals, _ = self._family.encode(inputs, self._method.needs)
        masked, hardness = zip(*map(self._masked, visuals), strict=True)
        log_probs = answer_outputs(self._family, inputs, Full(), list(masked)).log_probs
        labels = inputs["labels"][:, 1:]
        return {
            "answers": F.nll_loss(log_probs, labels[labels != -100], reduction="sum"),
            "hardness": torch.stack(hardness).sum(),
        }

    def _masked(self, visual: Visual) -> tuple[Visual, torch.Tensor]:
        """An image times its soft mask, and how far that is from the hard one."""
        assert isinstance(self._method, VisionSelector)
        tokens = visual.tokens
        m = self._method.count(tokens.n)
        if m == tokens.n:
            raise ValueError("every visual token was kept: there is nothing to learn at this keep")
        scores = self._method(tokens.x)
        if not scores.isfinite().all():
            raise TrainingError("the scores are not finite: lower --lr")
        mask = soft_top_k(scores, m)
        hard = torch.zeros_like(mask).index_fill_(0, self._method.reduce(tokens).anchors.to(mask.device), 1.0)
        with torch.autocast(mask.device.type, enabled=False):
            hardness = F.binary_cross_entropy(mask.float().clamp(0, 1), hard.float())
        weights = mask[:, None].to(tokens.x.dtype)
        deeper = tuple(layer * weights for layer in visual.deeper)
        return replace(visual, tokens=replace(tokens, x=tokens.x * weights), deeper=deeper), hardness
