"""Bottleneck, ADSC's recipe: LoRA on the LLM learns to answer while visual tokens leave between its layers."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig

from pinhole.adapters import Adapter
from pinhole.budget import Budget
from pinhole.cutting import Cutting
from pinhole.data import digest
from pinhole.decide import check, check_inside
from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.hub import ADAPTER_CONFIG, SETTINGS
from pinhole.method import InputMethod
from pinhole.methods.adsc import ADSC
from pinhole.methods.full import Full
from pinhole.training.curriculum import Curriculum
from pinhole.training.examples import batch_of
from pinhole.training.recipe import Part, Recipe, Step, Task, as_json, options_from
from pinhole.training.settings import TrainSettings
from pinhole.training.teacher import answer_outputs

ALL_LINEAR = "all-linear"
_SAMPLED = 8


@dataclass(frozen=True)
class BottleneckOptions(Curriculum):
    """Of LoRA and of the curriculum. The paper gives none of these; the defaults are Pinhole's.

    Attributes:
        rank: of LoRA's matrices.
        alpha: LoRA's scale is alpha / rank.
        dropout: on the input of LoRA's matrices.
        targets: names of linear layers in the LLM's layers, with commas between, or "all-linear".
        direction, shape, length: as in `Curriculum`.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str = "q_proj,k_proj,v_proj,o_proj"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.rank, self.alpha) < 1:
            raise ValueError(f"rank and alpha are at least 1, got {self.rank} and {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share in [0, 1), got {self.dropout}")


class Bottleneck(Recipe):
    """Instruction tuning under a schedule, arXiv 2602.12618: cross-entropy of the answers, the mean over their tokens.

    All turns of a dialogue are one sequence. The LLM reads every visual token, or those that a method at its input
    leaves, and loses them on its way, in training as
    afterwards, so that a step costs what the schedule leaves; `llm_flops_to_uncompressed` in `training.json` is that
    share for the whole schedule, of the LLM's forward pass over the first dialogues. The backward pass has the same
    share, but for the output head and LoRA itself.

    Of the authors' training no more is known here than that it is LoRA under a curriculum over the ratio. Learning
    rate, batch and clipping are usual ones for LoRA; they, and everything in `BottleneckOptions`, are Pinhole's.
    """

    defaults = TrainSettings(epochs=1, batch=16, lr=2e-4, clip=1.0)
    options = BottleneckOptions
    is_inside = True

    def __init__(self, task: Task) -> None:
        self._family, self._task, self._data = family_of(task.model), task, digest(task.dialogues)
        self._options: BottleneckOptions = options_from(self.options, task.options)
        method = task.spec.build(self._family.width)
        assert isinstance(method, ADSC)
        entry = task.entry.build(self._family.width) if task.entry else Full()
        assert isinstance(entry, InputMethod)
        check(entry, self._family)
        if isinstance(entry, torch.nn.Module):
            entry.to(input_device(task.model)).eval().requires_grad_(False)
        self._entry = entry
        self._layers = self._family.shape.layers
        self._method = replace(method.towards(1.0, self._layers), adapter=None)
        check_inside(self._method, self._family)
        config = LoraConfig(
            base_model_name_or_path=None if Path(task.model.name_or_path).exists() else task.model.name_or_path,
            r=self._options.rank,
            lora_alpha=self._options.alpha,
            lora_dropout=self._options.dropout,
            target_modules=targets_of(self._family, self._options.targets),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.settings.seed)
            self._adapter = Adapter(self._family, config)
        if method.adapter:
            self._go_on_from(Path(method.adapter))
        self._adapter.make_trainable()

    @property
    def size(self) -> int:
        """Dialogues."""
        return len(self._task.dialogues)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """LoRA's matrices."""
        return list(self._adapter.weights.values())

    def described(self) -> dict[str, Any]:
        """The schedule, the options and the data, and what a step at the whole schedule costs."""
        entry = {"entry": self._entry.name, **self._entry.settings(), "keep": self._entry.keep}
        own = {
            **self._told,
            "behind": entry,
            "from": self._task.spec.source,
            **as_json(self._options),
            "data": self._data,
        }
        return {**own, "llm_flops_to_uncompressed": round(self._cost(), 4)}

    @property
    def _told(self) -> dict[str, Any]:
        """The method, as it is written down."""
        method = self._method
        return {"method": method.name, "schedule": method.schedule, "positions": method.positions}

    def method_at(self, step: Step) -> ADSC:
        """The schedule of one step, without an adapter."""
        return self._method.towards(self._options.progress(step), self._layers)

    def read(self, indices: list[int], step: Step) -> Part:
        """Tokenise dialogues and load their pictures."""
        dialogues = [self._task.dialogues[i] for i in indices]
        inputs = batch_of(self._family.model, self._task.processor, dialogues)
        return Part((indices, inputs), {"answers": int((inputs["labels"][:, 1:] != -100).sum())})

    def weights(self, step: Step) -> dict[str, float]:
        """There is one term."""
        return {"answers": 1.0}

    def sums(self, part: Part, step: Step) -> dict[str, torch.Tensor]:
        """Cross-entropy over answer tokens."""
        indices, inputs = part.content
        with torch.no_grad():
            visuals, _ = self._family.encode(inputs, self._entry.needs)
        cutting, scope = Cutting(self._family, self.method_at(step)), self._task.settings.scope
        with self._adapter.on(), self._chance(indices, step):
            log_probs = answer_outputs(self._family, inputs, self._entry, visuals, scope, cutting).log_probs
        labels = inputs["labels"][:, 1:]
        return {"answers": F.nll_loss(log_probs, labels[labels != -100], reduction="sum")}

    def save(self, folder: Path) -> None:
        """As peft and `ADSC.from_pretrained` read it."""
        self._adapter.save(folder)
        (folder / SETTINGS).write_text(json.dumps(self._told, indent=2) + "\n")

    def restore(self, folder: Path) -> None:
        """Take over weights."""
        self._adapter.load(folder)

    def finish(self, folder: Path) -> ADSC:
        """The method with its adapter."""
        return replace(self._method, adapter=str(folder))

    def _go_on_from(self, folder: Path) -> None:
        """Start with the adapter of another run.

        Raises:
            ValueError: it has another scale, rank or place.
        """
        told = json.loads((folder / ADAPTER_CONFIG).read_text())
        scale = told["r"], told["lora_alpha"]
        if scale != (self._options.rank, self._options.alpha):
            raise ValueError(f"the adapter in {folder} has rank {scale[0]} and alpha {scale[1]}: set both the same")
        self.restore(folder)

    def _cost(self) -> float:
        """FLOPs of the LLM under the whole schedule, a share of those without it."""
        shape, flops = self._family.shape, [0, 0]
        for dialogue in self._task.dialogues[:_SAMPLED]:
            ids = batch_of(self._family.model, self._task.processor, [dialogue])["input_ids"][0]
            placeholders = torch.tensor([self._family.token_id(name) for name in self._family.modalities])
            visual = int(torch.isin(ids.cpu(), placeholders).sum())
            entering = self._entry.count(visual) or visual
            budgets = (
                self._method.budget(visual, entering, self._layers),
                Budget.constant(visual, visual, self._layers),
            )
            for i, budget in enumerate(budgets):
                flops[i] += budget.prefill_flops(shape, len(ids) - visual)
        return flops[0] / flops[1]

    @contextlib.contextmanager
    def _chance(self, indices: list[int], step: Step) -> Iterator[None]:
        """What is dropped out depends on the step and its samples, not on what was computed before."""
        device = input_device(self._family.model)
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=self._options.dropout > 0):
            if self._options.dropout > 0:
                drawn = random.Random(f"{self._task.settings.seed}/{step.number}/{indices}").getrandbits(63)
                torch.manual_seed(drawn)
            yield


def targets_of(family: Family, targets: str) -> str:
    """A regular expression for the names of the linear layers that LoRA goes beside, all in the LLM's layers.

    Args:
        family: of the model.
        targets: as in `BottleneckOptions`.

    Raises:
        ValueError: one of them is not there; the message lists those that are.
    """
    llm = family.language_model
    modules = [item for layer in llm.layers for item in layer.named_modules()]
    there = sorted({name.rpartition(".")[2] for name, module in modules if isinstance(module, torch.nn.Linear)})
    wanted = there if targets == ALL_LINEAR else [name.strip() for name in targets.split(",")]
    if unknown := [name for name in wanted if name not in there]:
        kind = family.model.config.model_type
        raise ValueError(
            f"the LLM's layers of models of type {kind!r} have no linear layer {unknown[0]!r}: set targets to some of "
            f"{','.join(there)}, or to {ALL_LINEAR}"
        )
    path = next(name for name, module in family.model.named_modules() if module is llm)
    return rf"{re.escape(path)}\.layers\.\d+\.(?:.+\.)?(?:{'|'.join(map(re.escape, wanted))})"
