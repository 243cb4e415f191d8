"""Distillation: how far the compressed model's answers are from the uncompressed one's."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.families import family_of
from pinhole.method import Learned
from pinhole.reduction import Reduction
from pinhole.training.examples import batch_of
from pinhole.training.objectives import forward_kl, largest_column_sum, row_entropy
from pinhole.training.settings import TrainSettings
from pinhole.training.teacher import Teacher, answer_log_probs


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and a remedy. Checkpoints are kept."""


class Distillation:
    """MetaCompress's loss on batches of dialogues: L = KL + entropy + collapse.

    Args:
        model: frozen; with the method's tokens it is the student.
        processor: its own.
        method: what learns.
        settings: weights of the terms and the precision.
        teacher: the uncompressed model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        method: Learned,
        settings: TrainSettings,
        teacher: Teacher,
    ) -> None:
        self._accelerator = Accelerator(mixed_precision=settings.precision)
        if self._accelerator.num_processes > 1:
            raise ValueError(
                f"training runs in one process, and {self._accelerator.num_processes} were started: "
                "start it without accelerate launch"
            )
        self._family = family_of(model)
        self._processor, self._method, self._settings = processor, method, settings
        self._teacher = teacher

    def __call__(self, step: int, names: list[int], dialogues: list[Dialogue]) -> dict[str, torch.Tensor]:
        """The terms and their weighted sum, "loss", on one batch.

        Args:
            step: counted from 1, for messages.
            names: the dialogues' numbers in the data set.
            dialogues: the batch.

        Raises:
            TrainingError: the loss is not finite, or P has collapsed.
        """
        inputs = batch_of(self._family.model, self._processor, dialogues)
        with self._accelerator.autocast():
            with torch.no_grad():
                images, _ = self._family.encode(inputs, self._method.needs)
            expected = self._teacher(names, inputs, images)
            given, shrunk = answer_log_probs(self._family, inputs, self._method, images, self._settings.scope)
        matrices = [reduction.weights for reduction in shrunk.reductions if reduction.weights is not None]
        if not matrices:
            raise ValueError("every visual token was kept: there is nothing to learn at this keep")
        kl = forward_kl(expected, given)
        entropy = torch.stack([row_entropy(p) for p in matrices]).mean()
        collapse = torch.stack([largest_column_sum(p) for p in matrices]).mean()
        loss = kl + self._settings.entropy_weight * entropy + self._settings.collapse_weight * collapse
        losses = {"loss": loss, "kl": kl, "entropy": entropy, "collapse": collapse}
        _stop_if_lost(step, losses, shrunk.reductions)
        return losses


def _stop_if_lost(step: int, losses: dict[str, torch.Tensor], reductions: list[Reduction]) -> None:
    if not losses["loss"].isfinite():
        terms = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
        raise TrainingError(
            f"step {step}: the loss is not finite ({terms}). Lower --lr, or train with --precision no; "
            "--resume goes on from the last checkpoint"
        )
    anchors = [reduction.anchors for reduction in reductions if reduction.m > 1]
    if anchors and all(bool((a == a[0]).all()) for a in anchors):
        raise TrainingError(
            f"step {step}: P has collapsed, every kept token of every image is made of one visual token. "
            "Raise --collapse-weight, lower --entropy-weight or --lr, or check normalize=image"
        )
