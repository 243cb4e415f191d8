"""`pinhole label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.completion import among
from pinhole.options import Checkpoint, spread


@spread
def label(
    checkpoint: Checkpoint,
    output: Output,
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the labels; a killed run goes on from there.")],
    turns: Annotated[
        str,
        typer.Option(
            help="Ask the first question of each dialogue, or all of them, each by itself.",
            autocompletion=among("first", "all"),
        ),
    ] = "first",
    only_correct: Annotated[
        bool, typer.Option("--only-correct/--all-answers", help="Which answers are labelled: the right ones, or all.")
    ] = True,
    max_answer_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16,
    weighting: Annotated[
        str,
        typer.Option(
            help="Attention in the rollout: weighted by its gradient, or the mean over heads.",
            autocompletion=among("gradient", "mean"),
        ),
    ] = "gradient",
    batch: Annotated[int, typer.Option(help="Questions answered at once.")] = 16,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.", min=1)] = None,
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
    lvlm, processor = checkpoint.load(output.progress)
    share = Share.of_launch(lvlm)
    run(
        lvlm,
        processor,
        dialogues,
        out,
        checkpoint.model,
        settings,
        limit=limit,
        share=share,
        show_progress=output.progress,
    )
    if share.rank == 0:
        asked, right = tally(out)
        told = f"{asked} question(s) asked, {right} answered right; labels in {out}"
        output.give({"asked": asked, "correct": right, "labels": str(out)}, told)
