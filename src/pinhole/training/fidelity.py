"""Fidelity, Pinhole's own method's recipe: distillation with the settings that were found to train it."""

from __future__ import annotations

from dataclasses import dataclass

from pinhole.training.distillation import Distillation, DistillationOptions
from pinhole.training.settings import TrainSettings


@dataclass(frozen=True)
class FidelityOptions(DistillationOptions):
    """As `DistillationOptions`, without the entropy: it makes P sharp before the answers can, and costs many of them.

    The collapse term stays: without it the keys fall together in the first steps.
    """

    entropy_weight: float = 0.0


class Fidelity(Distillation):
    """MetaCompress's loss without its entropy term, a higher learning rate, and a norm at which little is clipped."""

    defaults = TrainSettings(epochs=10, lr=3e-3, clip=1.0)
    options = FidelityOptions
