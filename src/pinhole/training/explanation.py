"""Explanation, the recipe of Relevance: first-layer attention is made to tell what rollout finds relevant."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from pinhole.explain.labels import Label, read_labels, read_settings, target
from pinhole.loading import fingerprint
from pinhole.scope import Scope
from pinhole.training.attention import Asked, attentions
from pinhole.training.objectives import relevance_kl
from pinhole.training.on_dialogues import OnDialogues
from pinhole.training.recipe import Part, Step, Task
from pinhole.training.settings import TrainSettings

_SHOWN = 5
_Pair = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class ExplanationOptions:
    """Of the target R_v*.

    Attributes:
        masked: share of an image's visual tokens, the least relevant, that count as irrelevant; the paper has 0.5.
    """

    masked: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.masked < 1:
            raise ValueError(f"masked is a share in [0, 1), got {self.masked}")


class Explanation(OnDialogues):
    """Explainability compressor, ICLR 2026, arXiv 2506.01097: the loss is KL(R_v* || f(A_v)), the mean over images.

    A sample is a question that the model answered right, asked by itself about its images. The LLM runs before the
    first step alone, to give A_v. Batch and epochs are the paper's; learning rate and clipping are Pinhole's.
    """

    defaults = TrainSettings(epochs=100, batch=128, lr=1e-3, clip=1.0)
    options = ExplanationOptions

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        if task.settings.scope != Scope():
            raise ValueError(
                f"{task.spec.name} learns from labels of whole images: choose positions and the like where it is used"
            )
        labels = [label for label in _labels(task) if label.correct and label.relevance]
        dialogues = {dialogue.id: dialogue for dialogue in task.dialogues}
        [cue] = self._method.needs
        asked: list[Asked] = [(dialogues[label.dialogue], label.question) for label in labels]
        found = zip(labels, attentions(task, asked, cue), strict=True)
        pairs = [_pairs(label, attention, self._options.masked) for label, attention in found]
        self._samples = [sample for sample in pairs if sample]
        if not self._samples:
            raise ValueError(f"{task.labels} holds no labels of right answers: there is nothing to learn from")

    @property
    def size(self) -> int:
        """Questions."""
        return len(self._samples)

    def described(self) -> dict[str, Any]:
        """The method, its settings, the data and the labels."""
        told = hashlib.sha256()
        for sample in self._samples:
            for _, wanted in sample:
                told.update(wanted.numpy().tobytes())
        return {**super().described(), "labels": told.hexdigest()[:12]}

    def read(self, indices: list[int], step: Step) -> Part:
        """A_v and R_v* of each image."""
        pairs = [pair for i in indices for pair in self._samples[i]]
        return Part(pairs, {"kl": len(pairs)})

    def weights(self, step: Step) -> dict[str, float]:
        """There is one term."""
        return {"kl": 1.0}

    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """KL over images; those of as many tokens go through the network together."""
        groups: dict[int, list[_Pair]] = defaultdict(list)
        for pair in part.content:
            groups[len(pair[0])].append(pair)
        device, losses = self.parameters[0].device, []
        for group in groups.values():
            attention, wanted = (torch.stack(rows).to(device) for rows in zip(*group, strict=True))
            losses.append(relevance_kl(wanted, self._method(attention)) * len(group))
        return {"kl": torch.stack(losses).sum()}


def _labels(task: Task) -> list[Label]:
    """Those in the task's folder.

    Raises:
        ValueError: there is no folder, or the labels are another model's or of other data.
    """
    if task.labels is None:
        raise ValueError(
            f"{task.spec.name} learns from labels: write them with pinhole label and name their folder as --labels"
        )
    weights = read_settings(task.labels).get("weights")
    if weights != fingerprint(task.model):
        raise ValueError(
            f"the labels in {task.labels} are of another model ({weights}, this one is {fingerprint(task.model)}): "
            "write this one's with pinhole label"
        )
    labels = read_labels(task.labels)
    questions = {(d.id, number): turn.question for d in task.dialogues for number, turn in enumerate(d.turns)}
    strange = {label.dialogue for label in labels if questions.get((label.dialogue, label.turn)) != label.question}
    if strange:
        names = ", ".join(sorted(strange)[:_SHOWN]) + (
            f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        )
        raise ValueError(
            f"{task.labels} labels dialogues that the data does not hold, or holds with other questions: {names}; give "
            "the data that was labelled"
        )
    return labels


def _pairs(label: Label, attention: list[torch.Tensor], masked: float) -> list[_Pair]:
    """A_v and R_v* of each image of one question; none of an image of no relevance at all."""
    found, labelled = [len(a) for a in attention], [len(r_v) for r_v in label.relevance]
    if found != labelled:
        raise ValueError(
            f"the images of dialogue {label.dialogue!r} have {found} visual tokens and {labelled} labels: write the "
            "labels with this model's own processor"
        )
    return [(a, target(r_v, masked)) for a, r_v in zip(attention, label.relevance, strict=True) if r_v.any()]
