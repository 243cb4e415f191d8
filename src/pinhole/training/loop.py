"""The training loop: a frozen model, a learned method, and the difference that the method makes to the answers."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.families import family_of
from pinhole.method import Learned
from pinhole.registry import MethodSpec
from pinhole.shrink import Shrunk, check
from pinhole.training.examples import batch_of, order
from pinhole.training.objectives import forward_kl, largest_column_sum, row_entropy
from pinhole.training.state import Run
from pinhole.training.teacher import Teacher, answer_log_probs


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and a remedy. Checkpoints are kept."""


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    The paper gives two epochs, both weights 1, and clipping at 1e-2 (here: the gradient's norm). Optimizer (Adam),
    learning rate and schedule (linear warm-up over a tenth of the steps, then a cosine to zero) are ours.
    """

    epochs: int = 2
    batch: int = 16
    lr: float = 3e-3
    entropy_weight: float = 1.0
    collapse_weight: float = 1.0
    clip: float = 1e-2
    seed: int = 0
    precision: str = "no"
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.checkpoint_every) < 1:
            raise ValueError("epochs, batch and checkpoint_every are at least 1")
        if min(self.lr, self.clip) <= 0 or min(self.entropy_weight, self.collapse_weight) < 0:
            raise ValueError("lr and clip are above 0, entropy_weight and collapse_weight are not below it")
        if self.precision not in ("no", "bf16"):
            raise ValueError(f"precision is no or bf16, got {self.precision!r}")

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of one step (counted from 0) of a run of `steps`."""
        warm = max(1, steps // 10)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    spec: MethodSpec,
    dialogues: list[Dialogue],
    out: Path,
    settings: TrainSettings,
    *,
    resume: bool = False,
    teacher_cache: Path | None = None,
    show_progress: bool = True,
) -> Learned:
    """Train `spec` on `dialogues` and save it in `out`, ready for `from_pretrained`.

    Args:
        model: frozen; only the method's own weights change.
        processor: the model's own.
        spec: a learned method, as written on the command line.
        dialogues: what to train on; all turns of one go in one sequence.
        out: folder for the weights, the log and the checkpoints.
        settings: how.
        resume: go on with the run in `out`; the result equals that of a run that was never stopped.
        teacher_cache: folder that keeps the uncompressed model's outputs for later epochs.
        show_progress: draw a progress bar with the losses.

    Raises:
        ValueError: the method does not learn, the model has another width, or `out` holds another run.
        TrainingError: a loss is not finite, or P has collapsed.
    """
    family = family_of(model)
    model.requires_grad_(False).eval()
    method = spec.build(family.width, seed=settings.seed)
    if not isinstance(method, Learned):
        raise ValueError(f"{spec.name} has nothing to learn")
    check(method, family)
    run = Run(out, {**asdict(settings), "method": spec.name, "from": spec.source, "dialogues": len(dialogues),
                    "keep": method.keep, **method.settings()}, resume)  # fmt: skip
    checkpoint = run.latest() if resume else None
    if checkpoint is not None:
        method = type(method).from_pretrained(str(checkpoint))
    accelerator = Accelerator(mixed_precision=settings.precision)
    method.to(model.device).train()
    weights = list(method.parameters())
    optimizer = torch.optim.Adam(weights, lr=settings.lr)
    done = 0 if checkpoint is None else run.load_optimizer(checkpoint, optimizer)
    teacher = Teacher(family, teacher_cache)
    batches = [
        ids for epoch in range(settings.epochs) for ids in order(len(dialogues), settings.batch, epoch, settings.seed)
    ]

    with _progress(show_progress) as bar:
        task = bar.add_task("training", total=len(batches), completed=done, losses="")
        for step in range(done, len(batches)):
            started = time.perf_counter()
            inputs = batch_of(model, processor, [dialogues[i] for i in batches[step]])
            with accelerator.autocast():
                with torch.no_grad():
                    images, _ = family.encode(inputs)
                expected = teacher(batches[step], inputs, images)
                given, shrunk = answer_log_probs(family, inputs, method, images)
            losses = _losses(expected, given, shrunk)
            loss = (
                losses["kl"]
                + settings.entropy_weight * losses["entropy"]
                + settings.collapse_weight * losses["collapse"]
            )
            _stop_if_lost(step, loss, losses, shrunk)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr_at(step, len(batches))
            optimizer.step()
            record = {"step": step + 1, "loss": loss.item(), **{name: value.item() for name, value in losses.items()}}
            run.log({**record, "grad_norm": float(norm), "lr": settings.lr_at(step, len(batches)),
                     "seconds": round(time.perf_counter() - started, 4)})  # fmt: skip
            if (step + 1) % settings.checkpoint_every == 0:
                run.save(step + 1, method, optimizer)
            bar.update(task, advance=1, losses=" ".join(f"{k} {v:.3f}" for k, v in record.items() if k != "step"))
    method.eval()
    method.save_pretrained(out)
    return method


def _losses(expected: torch.Tensor, given: torch.Tensor, shrunk: Shrunk) -> dict[str, torch.Tensor]:
    matrices = [reduction.weights for reduction in shrunk.reductions if reduction.weights is not None]
    if not matrices:
        raise ValueError("every visual token was kept: there is nothing to learn at this keep")
    return {
        "kl": forward_kl(expected, given),
        "entropy": torch.stack([row_entropy(p) for p in matrices]).mean(),
        "collapse": torch.stack([largest_column_sum(p) for p in matrices]).mean(),
    }


def _stop_if_lost(step: int, loss: torch.Tensor, losses: dict[str, torch.Tensor], shrunk: Shrunk) -> None:
    if not loss.isfinite():
        terms = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
        raise TrainingError(
            f"step {step + 1}: the loss is not finite ({terms}). Lower --lr, or train with --precision no; "
            "--resume goes on from the last checkpoint"
        )
    anchors = [reduction.anchors for reduction in shrunk.reductions if reduction.m > 1]
    if anchors and all(bool((a == a[0]).all()) for a in anchors):
        raise TrainingError(
            f"step {step + 1}: P has collapsed, every kept token of every image is made of one visual token. "
            "Raise --collapse-weight, lower --entropy-weight or --lr, or check normalize=image"
        )


def _progress(show: bool) -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, TextColumn("{task.fields[losses]}"), disable=not show)
