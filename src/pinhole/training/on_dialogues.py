"""What recipes that train a torch module on dialogues have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pinhole.data import digest
from pinhole.decide import check
from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.method import Learned
from pinhole.training.examples import batch_of
from pinhole.training.recipe import Recipe, Task, as_json, options_from


class OnDialogues(Recipe):
    """All turns of a dialogue in one sequence, the reference answers in it; what learns is a `Learned` method."""

    def __init__(self, task: Task) -> None:
        self._family = family_of(task.model)
        self._options = options_from(self.options, task.options)
        method = task.spec.build(self._family.width, seed=task.settings.seed)
        assert isinstance(method, Learned)
        check(method, self._family)
        self._method = method
        self._method.to(input_device(task.model)).train()
        self._task, self._data = task, digest(task.dialogues)

    @property
    def size(self) -> int:
        """Dialogues."""
        return len(self._task.dialogues)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All of the method's."""
        return list(self._method.parameters())

    def described(self) -> dict[str, Any]:
        """The method, its settings and the data."""
        spec = self._task.spec
        own = {"method": spec.name, "from": spec.source, "keep": self._method.keep, **self._method.settings()}
        return {**own, **as_json(self._options), "data": self._data}

    def save(self, folder: Path) -> None:
        """As `from_pretrained` reads it."""
        self._method.save_pretrained(folder)

    def restore(self, folder: Path) -> None:
        """Take over weights."""
        self._method.load_state_dict(type(self._method).from_pretrained(str(folder)).state_dict())

    def finish(self, folder: Path) -> Learned:
        """The method."""
        return self._method.eval()

    def _read(self, indices: list[int], scale: float = 1.0) -> tuple[dict[str, Any], dict[str, int]]:
        """Model inputs with labels, and how many answer tokens and images there are in them."""
        dialogues = [self._task.dialogues[i] for i in indices]
        inputs = batch_of(self._family.model, self._task.processor, dialogues, scale)
        tokens = int((inputs["labels"][:, 1:] != -100).sum())
        return inputs, {"tokens": tokens, "images": sum(len(dialogue.images) for dialogue in dialogues)}
