"""Recipe: how one kind of method learns. The loop is the same for all of them."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.registry import MethodSpec
from pinhole.training.settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what.

    Attributes:
        model: the LVLM.
        processor: its own.
        spec: the method as written on the command line.
        dialogues: the data.
        settings: of the loop.
        options: of the recipe, as given.
        labels: folder written by `pinhole label`, for recipes that learn from labels.
        cache: folder for what does not change while the method learns; None computes it anew each time.
        show_progress: draw a bar for what is done before the first step.
        entry: method at the LLM's input in front of the one that learns; None leaves every visual token.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    spec: MethodSpec
    dialogues: list[Dialogue]
    settings: TrainSettings
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Path | None = None
    cache: Path | None = None
    show_progress: bool = True
    entry: MethodSpec | None = None


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        number: from 1.
        total: steps of the run.
    """

    number: int
    total: int

    @property
    def progress(self) -> float:
        """0 at the first step, 1 at the last."""
        return (self.number - 1) / max(1, self.total - 1)


@dataclass(frozen=True, eq=False)
class Part:
    """Samples that go through the model at once, as read.

    Attributes:
        content: for the recipe alone.
        counts: for each term of the loss how many elements it is a mean over.
    """

    content: Any
    counts: dict[str, int]


class Recipe(ABC):
    """How one kind of method learns.

    A loss is a weighted sum of terms, each a mean over elements that lie in all parts of a batch: a recipe gives sums
    and counts, so that neither the number of processes nor the micro-batch changes the loss.

    Class attributes:
        defaults: settings of the loop.
        options: a frozen dataclass of the recipe's own.
        is_inside: whether what learns is inside the LLM, where a method at the input may come first.
    """

    defaults: ClassVar[TrainSettings] = TrainSettings()
    options: ClassVar[type]
    is_inside: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, task: Task) -> None:
        """Build what learns, and refuse what cannot.

        Raises:
            ValueError: the method cannot learn on this model, or an option is unknown or out of range.
        """

    @property
    @abstractmethod
    def size(self) -> int:
        """How many samples there are."""

    @property
    @abstractmethod
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is optimised."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What decides the run beside the settings of the loop, as JSON values: method, options, data."""

    @abstractmethod
    def read(self, indices: list[int], step: Step) -> Part:
        """Read some samples."""

    @abstractmethod
    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """Each term, summed over the part's elements, with gradients.

        Raises:
            TrainingError: it cannot go on.
        """

    @abstractmethod
    def weights(self, step: Step) -> dict[str, float]:
        """The weight of each term in the loss."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was learned, in the form in which users load it."""

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote."""

    @abstractmethod
    def finish(self, folder: Path) -> Any:
        """What users get: the trained method, which `save` wrote to `folder`. The model is as it was before."""


def options_from(kind: type, given: Mapping[str, Any]) -> Any:
    """A recipe's options from what the user gave.

    Raises:
        ValueError: an unknown one; the message lists those that there are.
    """
    known = [entry.name for entry in fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"no option {name!r}{hint} (there are {', '.join(known)})")
    return kind(**given)


def as_json(options: Any) -> dict[str, Any]:
    """Options as they are written down: paths as text."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
