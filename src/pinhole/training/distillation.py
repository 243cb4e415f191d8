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
from pinhole.training.objectives import forward_kl, hidden_distance, largest_column_sum, row_entropy
from pinhole.training.on_dialogues import OnDialogues
from pinhole.training.recipe import Part, Step, Task
from pinhole.training.teacher import Teacher, answer_outputs


@dataclass(frozen=True)
class DistillationOptions:
    """Of the loss L = KL + the sum of the other terms by their weights, and of what is drawn for each step.

    Attributes:
        entropy_weight: of the mean row entropy of P; the paper has 1.
        collapse_weight: of the largest column sum of P; the paper has 1.
        hidden_weight: of how far the last hidden states at the answer tokens are from the uncompressed model's, squared
            and relative to theirs; the paper does not have it.
        keeps: shares or counts, of which each step draws one: one compressor for all of them. None is the method's own.
        scales: factors, of which each step draws one to resize its pictures by: one compressor for all resolutions,
            where the model reads images of any size.
    """

    entropy_weight: float = 1.0
    collapse_weight: float = 1.0
    hidden_weight: float = 0.0
    keeps: tuple[Keep, ...] | None = None
    scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.entropy_weight, self.collapse_weight, self.hidden_weight) < 0:
            raise ValueError("entropy_weight, collapse_weight and hidden_weight are not below 0")
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
        tokens, images = counts["tokens"], counts["images"]
        terms = {"kl": tokens, "hidden": tokens, "entropy": images, "collapse": images}
        return Part((indices, inputs), {name: terms[name] for name in self.weights(step)})

    def weights(self, step: Step) -> dict[str, float]:
        """The same at every step; hidden states are compared where that counts."""
        options = self._options
        weights = {"kl": 1.0, "entropy": options.entropy_weight, "collapse": options.collapse_weight}
        return weights | ({"hidden": options.hidden_weight} if options.hidden_weight else {})

    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """KL and hidden states over answer tokens, entropy and collapse over images."""
        indices, inputs = part.content
        method = copy.copy(self._method)  # with the same weights
        method.keep = _drawn(self._options.keeps, step) or method.keep
        with torch.no_grad():
            images, _ = self._family.encode(inputs, method.needs)
        expected, hidden = self._teacher(indices, inputs, images)
        given = answer_outputs(self._family, inputs, method, images, self._task.settings.scope)
        matrices = [reduction.matrix() for reduction in given.shrunk.reductions if reduction.weights is not None]
        if not matrices:
            raise ValueError("every visual token was kept: there is nothing to learn at this keep")
        _stop_if_collapsed(given.shrunk.reductions)
        sums = {
            "kl": forward_kl(expected, given.log_probs) * len(expected),
            "entropy": torch.stack([row_entropy(p) for p in matrices]).sum(),
            "collapse": torch.stack([largest_column_sum(p) for p in matrices]).sum(),
        }
        if self._options.hidden_weight:
            sums["hidden"] = hidden_distance(hidden, given.hidden) * len(hidden)
        return sums


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
