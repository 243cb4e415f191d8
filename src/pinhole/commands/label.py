"""`pinhole label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.options import Checkpoint, QuietOption, console, spread


@spread
def label(
    checkpoint: Checkpoint,
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the labels; a killed run goes on from there.")],
    turns: Annotated[
        str, typer.Option(help="Ask the first question of each dialogue, or all of them, each by itself.")
    ] = "first",
    only_correct: Annotated[
        bool, typer.Option("--only-correct/--all-answers", help="Which answers are labelled: the right ones, or all.")
    ] = True,
    max_answer_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16,
    weighting: Annotated[
        str, typer.Option(help="Attention in the rollout: weighted by its gradient, or the mean over heads.")
    ] = "gradient",
    batch: Annotated[int, typer.Option(help="Questions answered at once.")] = 16,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.")] = None,
    quiet: QuietOption = False,
) -> None:
    """Label which visual tokens a model's answers rest on, to train `relevance`; also under accelerate launch."""
    from pinhole.data import read_dialogues
    from pinhole.explain.labeller import LabelSettings
    from pinhole.explain.labeller import label as run
    from pinhole.explain.labels import tally
    from pinhole.launch import Share

    settings = LabelSettings(
        turns=turns,  # type: ignore[arg-type]
        answers="correct" if only_correct else "all",
        max_answer_tokens=max_answer_tokens,
        weighting=weighting,  # type: ignore[arg-type]
        batch=batch,
    )
    dialogues = read_dialogues(data)
    lvlm, processor = checkpoint.load(quiet)
    share = Share.of_launch(lvlm)
    run(lvlm, processor, dialogues, out, checkpoint.model, settings, limit=limit, share=share, show_progress=not quiet)
    if share.rank == 0:
        asked, right = tally(out)
        console.print(f"{asked} question(s) asked, {right} answered right; labels in {out}")
