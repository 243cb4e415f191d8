"""`pinhole eval`."""

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
    parse_keep,
    scope_of,
)


def evaluate(
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for results.json and answers.jsonl; a killed run goes on from there.")
    ],
    methods: Annotated[
        list[str],
        typer.Option(help="What to compare, such as: full sample fastv:layer=2 sample+fastv metacompress:DIR."),
    ],
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64; several give several rows.")
    ] = None,
    match: Annotated[
        str, typer.Option(help="keep hands keep to every method; average makes it the mean over the LLM's layers.")
    ] = "keep",
    model: ModelOption = "embedded",
    history: Annotated[
        str, typer.Option(help="What later turns see: the model's own answers, or the gold ones.")
    ] = "own",
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16,
    batch: Annotated[int, typer.Option(help="Dialogues held at once.")] = 25,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.")] = None,
    ttft_dialogues: Annotated[int, typer.Option(help="Dialogues to time the first token on; 0 for none.")] = 20,
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
    """Compare methods in dialogues: accuracy with intervals, tokens, FLOPs, KV bytes, time to first token."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation.contender import contenders, parse_specs
    from pinhole.evaluation.evaluate import Names
    from pinhole.evaluation.evaluate import evaluate as run
    from pinhole.evaluation.runner import EvalSettings
    from pinhole.families import family_of
    from pinhole.view.table import rich_table

    scope = scope_of(positions, video_scope, separators)
    settings = EvalSettings(history, max_new_tokens, batch, scope)  # type: ignore[arg-type]
    keeps = [parse_keep(text) for text in keep or ["0.1"]]
    for spec in methods:
        parse_specs(spec)
    dialogues = read_dialogues(data)[:limit]
    lvlm, processor = load_quietly(model, quiet, dtype, device, device_map, attention, quantize)
    rivals = contenders(methods, keeps, family_of(lvlm).shape, match)  # type: ignore[arg-type]
    results = run(
        lvlm,
        processor,
        rivals,
        dialogues,
        out,
        Names(model, str(data)),
        settings,
        ttft_dialogues=ttft_dialogues,
        show_progress=not quiet,
    )
    console.print(rich_table(results))
    console.print(f"wrote {out / 'results.json'}")
