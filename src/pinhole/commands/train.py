"""`pinhole train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import (
    AttentionOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ModelOption,
    PositionsOption,
    QuantizeOption,
    QuietOption,
    SeparatorsOption,
    VideoScopeOption,
    console,
    load_quietly,
    scope_of,
)


def train(
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the log and the checkpoints.")],
    model: ModelOption = "embedded",
    method: Annotated[
        str, typer.Option(help="What to train, such as metacompress:keep=0.1,d_c=64.")
    ] = "metacompress:keep=0.1",
    epochs: Annotated[int, typer.Option(help="Times through the data.")] = 2,
    batch: Annotated[int, typer.Option(help="Dialogues in a step.")] = 16,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    entropy_weight: Annotated[float, typer.Option(help="Weight of the mean row entropy of P.")] = 1.0,
    collapse_weight: Annotated[float, typer.Option(help="Weight of the largest column sum of P.")] = 1.0,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient.")] = 1e-2,
    seed: Annotated[int, typer.Option(help="Decides the first weights and the order of the data.")] = 0,
    precision: Annotated[str, typer.Option(help="no, or bf16 for mixed precision.")] = "no",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 100,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    teacher_cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the teacher's outputs for later epochs.")
    ] = None,
    positions: PositionsOption = None,
    video_scope: VideoScopeOption = "whole",
    separators: SeparatorsOption = "reduce",
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    device_map: DeviceMapOption = None,
    attention: AttentionOption = None,
    quantize: QuantizeOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a learned method on a frozen model: its answers before and after are made to agree."""
    from pinhole.data import read_dialogues
    from pinhole.registry import MethodSpec
    from pinhole.training.loop import train as run
    from pinhole.training.settings import TrainSettings

    settings = TrainSettings(
        epochs=epochs,
        batch=batch,
        lr=lr,
        entropy_weight=entropy_weight,
        collapse_weight=collapse_weight,
        clip=clip,
        seed=seed,
        precision=precision,
        checkpoint_every=checkpoint_every,
        scope=scope_of(positions, video_scope, separators),
    )
    spec = MethodSpec.parse(method)
    dialogues = read_dialogues(data)
    lvlm, processor = load_quietly(model, quiet, dtype, device, device_map, attention, quantize)
    run(
        lvlm,
        processor,
        spec,
        dialogues,
        out,
        settings,
        resume=resume,
        teacher_cache=teacher_cache,
        show_progress=not quiet,
    )
    console.print(f"saved {spec.name} in {out}; use it as {spec.name}:{out}")
