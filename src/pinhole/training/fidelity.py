"""Fidelity, Pinhole's own method's recipe: distillation with the settings that were found to train it."""

from __future__ import annotations

from dataclasses import dataclass

from pinhole.training.distillation import Distillation, DistillationOptions
from pinhole.training.settings import TrainSettings


@dataclass(frozen=True)
class FidelityOptions(DistillationOptions):
    """As `DistillationOptions`, with other weights.

    Entropy makes P sharp before the answers can, and costs many of them. The collapse term stays: without it the keys
    fall together in the first steps. Hidden states say more than the few words of an answer.
    """

    entropy_weight: float = 0.0
    hidden_weight: float = 1.0


class Fidelity(Distillation):
    """KL, collapse and hidden states; a higher learning rate than MetaCompress's, and a norm that clips little."""

    defaults = TrainSettings(epochs=10, lr=3e-3, clip=1.0)
    options = FidelityOptions
