"""The training loop, the same for every method that learns."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.devices import input_device
from pinhole.progress import bars
from pinhole.registry import MethodSpec
from pinhole.training.error import TrainingError
from pinhole.training.examples import order
from pinhole.training.memory import light_layers
from pinhole.training.pace import Pace
from pinhole.training.processes import Processes
from pinhole.training.recipe import Part, Recipe, Step, Task
from pinhole.training.recipes import recipe_of
from pinhole.training.settings import TrainSettings
from pinhole.training.state import Run


def train(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    spec: MethodSpec | list[MethodSpec],
    dialogues: list[Dialogue],
    out: Path,
    settings: TrainSettings | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    labels: Path | None = None,
    cache: Path | None = None,
    shard: bool = False,
    show_progress: bool = True,
) -> Any:
    """Train `spec` on `dialogues` and save it in `out`, ready for `from_pretrained`.

    Start it with `torchrun` or `accelerate launch` to share each batch among processes: the weights that come out are
    those of one process, but for rounding.

    Args:
        model: frozen; only the method's own weights change.
        processor: the model's own.
        spec: a learned method, as written on the command line; or a method at the LLM's input and one that learns
            inside, behind it.
        dialogues: what to train on.
        out: folder for the weights, the log and the checkpoints.
        settings: of the loop; None are the recipe's defaults.
        options: of the recipe.
        resume: go on with the run in `out`; the result equals that of a run that was never stopped.
        labels: folder written by `pinhole label`, where the method learns from labels.
        cache: folder that keeps what does not change while the method learns, such as the teacher's outputs.
        shard: spread the weights of the LLM's layers over the processes (FSDP); the model stays so afterwards.
        show_progress: draw a progress bar with the losses.

    Returns:
        the method.

    Raises:
        ValueError: the method does not learn, does not fit the model, or `out` holds another run.
        TrainingError: a loss is not finite, or the method has collapsed.
    """
    entry, spec, kind = _who_learns(spec)
    settings = settings or kind.defaults
    model.requires_grad_(False).eval()
    processes = Processes(settings.precision, input_device(model))
    if shard:
        processes.shard(model)
    task = Task(model, processor, spec, dialogues, settings, options or {}, labels, cache, show_progress, entry)
    recipe = kind(task)
    run = Run(out, {**asdict(settings), **recipe.described()}, resume, processes.is_first)
    processes.wait()
    optimizer, done = _begin(recipe, run, settings.lr, resume)
    with light_layers(model, settings.gradient_checkpointing):
        _descend(recipe, processes, run, optimizer, settings, done, show_progress)
    if processes.is_first:
        recipe.save(out)
    processes.wait()
    return recipe.finish(out)


def _begin(recipe: Recipe, run: Run, lr: float, resume: bool) -> tuple[torch.optim.Adam, int]:
    """The optimizer and the steps that are done, where `resume` as the last checkpoint has them."""
    checkpoint = run.latest() if resume else None
    if checkpoint is not None:
        recipe.restore(checkpoint)
    optimizer = torch.optim.Adam(recipe.parameters, lr=lr)
    done = 0 if checkpoint is None else run.load_optimizer(checkpoint, optimizer)
    run.forget_after(done)
    return optimizer, done


def _who_learns(spec: MethodSpec | list[MethodSpec]) -> tuple[MethodSpec | None, MethodSpec, type[Recipe]]:
    """The method that comes first, the one that learns behind it, and how.

    Raises:
        ValueError: it has nothing to learn, or nothing can come first.
    """
    *before, learner = spec if isinstance(spec, list) else [spec]
    kind = recipe_of(learner)
    if before and not kind.is_inside:
        raise ValueError(
            f"{learner.name} learns at the LLM's input, where no other method can come first: leave it out"
        )
    return before[0] if before else None, learner, kind


def _descend(
    recipe: Recipe,
    processes: Processes,
    run: Run,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    done: int,
    show_progress: bool,
) -> None:
    """Take the steps that are left behind `done`; log each, save some."""
    epochs = (order(recipe.size, settings.batch, epoch, settings.seed) for epoch in range(settings.epochs))
    batches = [indices for epoch in epochs for indices in epoch]
    shown = show_progress and processes.is_first
    with _progress(shown) as bar:
        task = bar.add_task("training", total=len(batches), completed=done, losses="")
        pace = Pace(len(batches) - done)
        for number, indices in enumerate(batches[done:], done + 1):
            started = time.perf_counter()
            optimizer.zero_grad()
            losses = _gradients(recipe, processes, indices, Step(number, len(batches)), settings.micro_batch)
            norm = torch.nn.utils.clip_grad_norm_(recipe.parameters, settings.clip)
            lr = settings.lr_at(number - 1, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            seconds = round(time.perf_counter() - started, 4)
            run.log({"step": number, **losses, "grad_norm": float(norm), "lr": lr, "seconds": seconds})
            if number % settings.checkpoint_every == 0 or number == len(batches):
                run.save(number, recipe, optimizer)
            if (told := pace.told(len(indices), seconds)) and shown:
                bar.console.print(told)
            bar.update(task, advance=1, losses=" ".join(f"{name} {value:.3f}" for name, value in losses.items()))


def _gradients(
    recipe: Recipe, processes: Processes, indices: list[int], step: Step, micro_batch: int | None
) -> dict[str, float]:
    """Leave the gradients of one batch in the parameters, the same in every process, and return the loss and its terms.

    Raises:
        TrainingError: the loss is not finite.
    """
    weights = recipe.weights(step)
    parts = [recipe.read(chunk, step) for chunk in _chunks(processes.share(indices), micro_batch)]
    counts = processes.added(sum((Counter(part.counts) for part in parts), Counter()), list(weights))
    means = dict.fromkeys(weights, 0.0)
    for part in parts:
        terms = _terms(recipe, processes, part, counts, step)
        torch.stack([weights[name] * term for name, term in terms.items()]).sum().backward()
        means = {name: mean + terms[name].item() for name, mean in means.items()}
    processes.add_gradients(recipe.parameters)
    means = processes.add(means)
    losses = {"loss": sum(weights[name] * mean for name, mean in means.items()), **means}
    if not torch.tensor(losses["loss"]).isfinite():
        told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        raise TrainingError(
            f"step {step.number}: the loss is not finite ({told}). Lower --lr, or train with --precision no; "
            "--resume goes on from the last checkpoint"
        )
    return losses


def _terms(
    recipe: Recipe, processes: Processes, part: Part, counts: dict[str, int], step: Step
) -> dict[str, torch.Tensor]:
    try:
        with processes.autocast():
            sums = recipe.sums(part, step)
    except TrainingError as error:
        raise TrainingError(f"step {step.number}: {error}") from error
    return {name: value / counts[name] for name, value in sums.items()}


def _chunks(indices: list[int], size: int | None) -> Iterator[list[int]]:
    size = size or max(1, len(indices))
    for start in range(0, len(indices), size):
        yield indices[start : start + size]


def _progress(show: bool) -> Progress:
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    return bars(show, *columns, TimeRemainingColumn(), TextColumn("{task.fields[losses]}"))
