"""Distillation, MetaCompress's recipe: the compressed model's answers are made to agree with the uncompressed one's."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from typing import Any

import torch

from pinhole.budget import Keep, check_keep
from pinhole.reduction import Reduction
from pinhole.training.error import TrainingError
from pinhole.training.objectives import forward_kl, largest_column_sum, row_entropy
from pinhole.training.on_dialogues import OnDialogues
from pinhole.training.recipe import Part, Step, Task
from pinhole.training.teacher import Teacher, answer_log_probs


@dataclass(frozen=True)
class DistillationOptions:
    """Of the loss L = KL + entropy_weight * entropy + collapse_weight * collapse, and of what is drawn for each step.

    Attributes:
        entropy_weight: of the mean row entropy of P; the paper has 1.
        collapse_weight: of the largest column sum of P; the paper has 1.
        keeps: shares or counts, of which each step draws one: one compressor for all of them. None is the method's own.
        scales: factors, of which each step draws one to resize its pictures by: one compressor for all resolutions,
            where the model reads images of any size.
    """

    entropy_weight: float = 1.0
    collapse_weight: float = 1.0
    keeps: tuple[Keep, ...] | None = None
    scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.entropy_weight, self.collapse_weight) < 0:
            raise ValueError("entropy_weight and collapse_weight are not below 0")
        for name in ("keeps", "scales"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, tuple(given) if isinstance(given, list | tuple) else (given,))
        for keep in self.keeps or ():
            check_keep(keep)
        if not all(0 < scale <= 4 for scale in self.scales or ()):
            raise ValueError(f"scales are factors above 0, and at most 4; got {self.scales}")


class Distillation(OnDialogues):
    """The loss compares what both models say at every token of every answer."""

    options = DistillationOptions

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if self._options.scales and task.cache:
            raise ValueError("pictures that are resized at each step cannot be cached: give scales or a cache")
        self._teacher = Teacher(self._family, task.cache, self._data)

    def read(self, indices: list[int], step: Step) -> Part:
        """Tokenise dialogues and load their pictures."""
        inputs, counts = self._read(indices, _drawn(self._options.scales, step) or 1.0)
        return Part(
            (indices, inputs), {"kl": counts["tokens"], "entropy": counts["images"], "collapse": counts["images"]}
        )

    def weights(self, step: Step) -> dict[str, float]:
        """The same at every step."""
        return {"kl": 1.0, "entropy": self._options.entropy_weight, "collapse": self._options.collapse_weight}

    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """KL over answer tokens, entropy and collapse over images."""
        indices, inputs = part.content
        method = copy.copy(self._method)  # with the same weights
        method.keep = _drawn(self._options.keeps, step) or method.keep
        with torch.no_grad():
            images, _ = self._family.encode(inputs, method.needs)
        expected = self._teacher(indices, inputs, images)
        given, shrunk = answer_log_probs(self._family, inputs, method, images, self._task.settings.scope)
        matrices = [reduction.matrix() for reduction in shrunk.reductions if reduction.weights is not None]
        if not matrices:
            raise ValueError("every visual token was kept: there is nothing to learn at this keep")
        _stop_if_collapsed(shrunk.reductions)
        return {
            "kl": forward_kl(expected, given) * len(given),
            "entropy": torch.stack([row_entropy(p) for p in matrices]).sum(),
            "collapse": torch.stack([largest_column_sum(p) for p in matrices]).sum(),
        }


def _drawn(values: tuple[Any, ...] | None, step: Step) -> Any:
    """One of them, the same in every process; None of none."""
    return random.Random(f"{step.number}/{step.total}").choice(values) if values else None


def _stop_if_collapsed(reductions: list[Reduction]) -> None:
    anchors = [reduction.anchors for reduction in reductions if reduction.m > 1]
    if anchors and all(bool((a == a[0]).all()) for a in anchors):
        raise TrainingError(
            "P has collapsed, every kept token of every image is made of one visual token. Raise collapse_weight, "
            "lower entropy_weight or --lr, or check normalize=image"
        )
