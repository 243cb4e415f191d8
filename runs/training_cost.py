"""Extrapolates what training MetaCompress at a large model's shapes costs, from a few steps of a model cut in depth.

    python runs/training_cost.py [--shape llava-next-7b] [--depths 2 4] [--batch 4] [--steps 3] [--keep 0.1]
        [--checkpointing]

Nothing is trained for its result: weights are random. Steps of the distillation recipe are timed on one-picture
dialogues of three turns, all turns in one sequence, at two depths of the LLM; time, memory and floating point
operations are carried on in a straight line to the full depth, as all layers are alike. In the first epoch the
uncompressed model's answers are computed and written to the cache, in the second they are read. Reading pictures and
words is left out. It writes docs/results/training_cost_gpu.json, or training_cost_cpu.json, whose operations are those
of a GPU and whose time is not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pinhole.benchmark.clock import Clock, gpus_of
from pinhole.benchmark.flops import flop_counter
from pinhole.benchmark.memory import peak_bytes
from pinhole.benchmark.shapes import SHAPES
from pinhole.benchmark.subject import Lengths, Subject, subject_of_shape
from pinhole.commands.output import console
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.registry import MethodSpec
from pinhole.training.distillation import Distillation
from pinhole.training.memory import light_layers
from pinhole.training.recipe import Part, Step, Task

SAMPLES, EPOCHS = 20_000, 2
"""The paper's (arXiv 2603.21701)."""


def sequences(subject: Subject, batch: int) -> dict[str, Any]:
    """A batch of dialogues with their answers, labels on these."""
    whole = subject.whole(subject.turns - 1)
    ids, answer = whole["input_ids"], subject.answer
    ids = torch.cat([ids, ids[:, -1:].expand(-1, answer)], 1)
    labels = torch.full_like(ids, -100)
    end = ids.shape[1]
    for inputs in (*reversed(subject.later), None):
        labels[:, end - answer : end] = ids[:, end - answer : end]
        end -= answer + (inputs["input_ids"].shape[1] if inputs else 0)
    rows = {name: value.repeat(batch, *[1] * (value.dim() - 1)) for name, value in subject.first.items()}
    ids, labels = ids.repeat(batch, 1), labels.repeat(batch, 1)
    return {**rows, "input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def at_depth(shape: str, layers: int, batch: int, keep: float, checkpointing: bool, steps: int) -> dict[str, Any]:
    """Seconds and FLOPs of a step in either epoch, and the memory above the model's weights."""
    subject = subject_of_shape(f"{shape}:layers={layers}", Lengths())
    assert subject is not None
    model, clock = subject.model.requires_grad_(False), Clock(gpus_of(subject.model))
    inputs = sequences(subject, batch)
    answers = int((inputs["labels"][:, 1:] != -100).sum())
    with tempfile.TemporaryDirectory() as cache, light_layers(model, checkpointing):
        spec = MethodSpec.parse(f"metacompress:keep={keep}")
        recipe = Distillation(Task(model, None, spec, [], Distillation.defaults, cache=Path(cache)))
        optimizer = torch.optim.Adam(recipe.parameters)

        def step(first: int) -> None:
            """One step on dialogues of these numbers, whose answers are in the cache or not."""
            part = Part(
                (list(range(first, first + batch)), inputs), {"kl": answers, "entropy": batch, "collapse": batch}
            )
            now = Step(1, 1)
            sums, weights = recipe.sums(part, now), recipe.weights(now)
            optimizer.zero_grad()
            torch.stack([weights[name] * value / part.counts[name] for name, value in sums.items()]).sum().backward()
            optimizer.step()

        flops = {"first_epoch_flops": counted(lambda: step(0)), "later_epoch_flops": counted(lambda: step(0))}
        new = [clock.seconds(lambda i=i: step(i * batch)) for i in range(1, steps + 1)]
        cached = [clock.seconds(lambda: step(0)) for _ in range(steps)]
        peak = peak_bytes(gpus_of(model), lambda: step((steps + 1) * batch))
        held = sum(file.stat().st_size for file in Path(cache).glob("*.safetensors")) / (steps + 2) / batch
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return {
        "layers": layers,
        "first_epoch_s": statistics.median(new),
        "later_epoch_s": statistics.median(cached),
        **flops,
        "peak_bytes": peak,
        "weights_bytes": weights,
        "cache_bytes_per_sample": held,
    }


def counted(step: Callable[[], None]) -> int:
    """Floating point operations of a step, forward and backward."""
    with flop_counter() as counter:
        step()
        return counter.get_total_flops()


def extrapolated(measured: list[dict[str, Any]], layers: int, batch: int) -> dict[str, Any]:
    """On a straight line through two depths, at the full one."""
    one, other = measured

    def at(name: str) -> float | None:
        if one[name] is None or other[name] is None:
            return None
        rise = (other[name] - one[name]) / (other["layers"] - one["layers"])
        return one[name] + rise * (layers - one["layers"])

    def over_both(what: str) -> tuple[float, float, float]:
        """Of a step in the first epoch, of one in a later epoch, and of all of them."""
        first, later = at(f"first_epoch_{what}"), at(f"later_epoch_{what}")
        assert first is not None
        assert later is not None
        return first, later, SAMPLES / batch * (first + (EPOCHS - 1) * later)

    first, later, seconds = over_both("s")
    first_flops, later_flops, flops = over_both("flops")
    return {
        "layers": layers,
        "samples_per_s": {"first_epoch": batch / first, "later_epochs": batch / later},
        "flops_per_sample": {"first_epoch": first_flops / batch, "later_epochs": later_flops / batch},
        "flops": flops,
        "peak_bytes": at("peak_bytes"),
        "weights_bytes": at("weights_bytes"),
        "cache_bytes": SAMPLES * one["cache_bytes_per_sample"],
        "hours": seconds / 3600,
    }


def main() -> None:
    root = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llava-next-7b", choices=list(SHAPES))
    parser.add_argument("--depths", type=int, nargs=2, default=(2, 4))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3, help="timed ones in each epoch")
    parser.add_argument("--keep", type=float, default=0.1)
    parser.add_argument("--checkpointing", action="store_true", help="compute each layer twice to hold less")
    kind = "gpu" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--out", type=Path, default=root / "docs" / "results" / f"training_cost_{kind}.json")
    given = parser.parse_args()
    started = time.perf_counter()
    measured = [
        at_depth(given.shape, n, given.batch, given.keep, given.checkpointing, given.steps)
        for n in sorted(given.depths)
    ]
    total = SHAPES[given.shape].llm["num_hidden_layers"]
    results = {
        "shape": given.shape,
        "samples": SAMPLES,
        "epochs": EPOCHS,
        "batch": given.batch,
        "keep": given.keep,
        "checkpointing": given.checkpointing,
        "measured": measured,
        "extrapolated": extrapolated(measured, total, given.batch),
        "seconds": time.perf_counter() - started,
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, results)
    console.print(results["extrapolated"])


if __name__ == "__main__":
    main()
