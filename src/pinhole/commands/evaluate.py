"""`pinhole eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import Checkpoint, QuietOption, Reading, console, parse_keep, spread


@spread
def evaluate(
    checkpoint: Checkpoint,
    reading: Reading,
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
    history: Annotated[
        str, typer.Option(help="What later turns see: the model's own answers, or the gold ones.")
    ] = "own",
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16,
    batch: Annotated[int, typer.Option(help="Dialogues held at once.")] = 25,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.")] = None,
    ttft_dialogues: Annotated[int, typer.Option(help="Dialogues to time the first token on; 0 for none.")] = 20,
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

    scope = reading.scope()
    settings = EvalSettings(history, max_new_tokens, batch, scope)  # type: ignore[arg-type]
    keeps = [parse_keep(text) for text in keep or ["0.1"]]
    for spec in methods:
        parse_specs(spec)
    dialogues = read_dialogues(data)[:limit]
    lvlm, processor = checkpoint.load(quiet)
    rivals = contenders(methods, keeps, family_of(lvlm).shape, match)  # type: ignore[arg-type]
    results = run(
        lvlm,
        processor,
        rivals,
        dialogues,
        out,
        Names(checkpoint.model, str(data)),
        settings,
        ttft_dialogues=ttft_dialogues,
        show_progress=not quiet,
    )
    console.print(rich_table(results))
    console.print(f"wrote {out / 'results.json'}")
