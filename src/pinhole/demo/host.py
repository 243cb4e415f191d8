"""The model that the page is about, and what goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import PreTrainedModel, ProcessorMixin

from pinhole.demo.limits import Limits
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.scope import Scope


@dataclass(frozen=True, eq=False)
class Host:
    """A loaded model, one for all visitors.

    Attributes:
        model: an LVLM of a supported family.
        processor: its own.
        name: what to call the model.
        scope: how methods are applied.
        limits: what a visitor may send and take.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    name: str
    scope: Scope = field(default_factory=Scope)
    limits: Limits = field(default_factory=Limits)

    @property
    def family(self) -> Family:
        """The model's."""
        return family_of(self.model)
