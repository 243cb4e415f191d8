"""`pinhole train`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinhole.commands.output import Output
from pinhole.completion import among, method_specs
from pinhole.options import Checkpoint, Reading, parse_settings, spread

if TYPE_CHECKING:
    from pinhole.scope import Scope
    from pinhole.training.settings import TrainSettings


@dataclass(frozen=True)
class Loop:
    """The settings of the training loop that were given; what was not has the recipe's default."""

    epochs: Annotated[int | None, typer.Option(help="Times through the data.")] = None
    batch: Annotated[int | None, typer.Option(help="Samples in a step, of all processes together.")] = None
    micro_batch: Annotated[int | None, typer.Option(help="Samples that one process computes at once.")] = None
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None
    seed: Annotated[int | None, typer.Option(help="Decides the first weights and the order of the data.")] = None
    precision: Annotated[
        str | None, typer.Option(help="no, or bf16 for mixed precision.", autocompletion=among("no", "bf16"))
    ] = None
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Less memory for the LLM's layers, more time.")
    ] = None

    def over(self, defaults: TrainSettings, scope: Scope) -> TrainSettings:
        """`defaults` with what was given."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(defaults, **given, scope=scope)


@spread
def train(
    checkpoint: Checkpoint,
    reading: Reading,
    loop: Loop,
    output: Output,
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the log and the checkpoints.")],
    method: Annotated[
        str, typer.Option(help="What to train, such as metacompress:keep=0.1,d_c=64.", autocompletion=method_specs)
    ] = "metacompress:keep=0.1",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Options of the method's training, such as entropy_weight=0.02; see docs/training.md."
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder written by pinhole label, for relevance.")] = None,
    shard: Annotated[
        bool, typer.Option("--shard", help="Spread the LLM's weights over the processes of accelerate launch (FSDP).")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.", min=1)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps what stays the same, such as the teacher's outputs.")
    ] = None,
) -> None:
    """Train a learned method on a frozen model; what is not given has the default of the method's recipe."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation.contender import parse_specs
    from pinhole.launch import Share
    from pinhole.training.loop import train as run
    from pinhole.training.recipes import recipe_of

    specs = parse_specs(method)
    settings = loop.over(recipe_of(specs[-1]).defaults, reading.scope())
    options = parse_settings(option or [])
    dialogues = read_dialogues(data)[:limit]
    lvlm, processor = checkpoint.load(output.progress)
    run(
        lvlm,
        processor,
        specs,
        dialogues,
        out,
        settings,
        options,
        resume=resume,
        labels=labels,
        cache=cache,
        shard=shard,
        show_progress=output.progress,
    )
    if Share.of_launch(lvlm).rank == 0:
        name, use = specs[-1].name, f"{specs[-1].name}:{out}"
        output.give({"method": name, "weights": str(out), "use": use}, f"saved {name} in {out}; use it as {use}")
