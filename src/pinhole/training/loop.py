"""The training loop: a frozen model, a learned method, and the difference that the method makes to the answers."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.decide import check
from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.method import Learned
from pinhole.registry import MethodSpec
from pinhole.training.distillation import Distillation
from pinhole.training.examples import order
from pinhole.training.settings import TrainSettings
from pinhole.training.state import Run
from pinhole.training.teacher import Teacher


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
    data = digest(dialogues)
    teacher = Teacher(family, teacher_cache, data)
    described = {**asdict(settings), "method": spec.name, "from": spec.source, "data": data}
    run = Run(out, {**described, "keep": method.keep, **method.settings()}, resume)
    checkpoint = run.latest() if resume else None
    if checkpoint is not None:
        method = type(method).from_pretrained(str(checkpoint))
    method.to(input_device(model)).train()
    weights = list(method.parameters())
    optimizer = torch.optim.Adam(weights, lr=settings.lr)
    done = 0 if checkpoint is None else run.load_optimizer(checkpoint, optimizer)
    run.forget_after(done)
    losses_of = Distillation(model, processor, method, settings, teacher)
    epochs = (order(len(dialogues), settings.batch, epoch, settings.seed) for epoch in range(settings.epochs))
    batches = [names for epoch in epochs for names in epoch]

    with _progress(show_progress) as bar:
        task = bar.add_task("training", total=len(batches), completed=done, losses="")
        for step, names in enumerate(batches[done:], done + 1):
            started = time.perf_counter()
            losses = losses_of(step, names, [dialogues[i] for i in names])
            optimizer.zero_grad()
            losses["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(weights, settings.clip)
            lr = settings.lr_at(step - 1, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            numbers = {name: value.item() for name, value in losses.items()}
            seconds = round(time.perf_counter() - started, 4)
            run.log({"step": step, **numbers, "grad_norm": float(norm), "lr": lr, "seconds": seconds})
            if step % settings.checkpoint_every == 0 or step == len(batches):
                run.save(step, method, optimizer)
            bar.update(task, advance=1, losses=" ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
    method.eval()
    method.save_pretrained(out)
    return method


def _progress(show: bool) -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, TextColumn("{task.fields[losses]}"), disable=not show)
