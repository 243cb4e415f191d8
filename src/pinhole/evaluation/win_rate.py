"""From a judge's verdicts to scores of answers and to ConvBench's win rates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pinhole.data import Dialogue
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.judge import Judge, Judged

Answers = dict[tuple[str, str], Answered]


def check_judge(dialogues: list[Dialogue], judge: Judge | None) -> None:
    """Whether there is a judge where one is needed, and only there.

    Raises:
        ValueError: it is not so.
    """
    by_judge = {turn.scoring == "judge" for dialogue in dialogues for turn in dialogue.turns}
    if by_judge == {True} and judge is None:
        raise ValueError("these answers are scored by a judge: give --judge URL and --judge-model NAME")
    if by_judge == {True, False}:
        raise ValueError("a judge scores all turns of a data set or none: split the data")
    if by_judge == {False} and judge is not None:
        raise ValueError("none of these answers is scored by a judge: leave --judge out")


def judge_answers(
    judge: Judge, contenders: list[Contender], dialogues: list[Dialogue], answered: Answers, show_progress: bool
) -> tuple[Answers, dict[str, dict[str, Any]]]:
    """The answers with the judge's scores, and what it adds to a row of the results, by contender key."""
    scored, added = dict(answered), {}
    for contender in contenders:
        records = [answered[contender.key, dialogue.id] for dialogue in dialogues]
        pairs = [(dialogue, record.answers) for dialogue, record in zip(dialogues, records, strict=True)]
        judged = judge.judge(pairs, show_progress)
        for record, found in zip(records, judged, strict=True):
            scored[contender.key, record.dialogue] = replace(record, correct=list(found.turns))
        added[contender.key] = {"win_rate": {"judge": judge.endpoint.model, **win_rates(dialogues, judged)}}
    return scored, added


def win_rates(dialogues: list[Dialogue], judged: list[Judged]) -> dict[str, Any]:
    """Shares of comparisons won, in %, unresolved ones among those lost.

    Returns:
        `levels`: by the turns' kind (perception S1, reasoning S2, creation S3); `turns`: the mean over all turns, R2 =
        (S1 + S2 + S3) / 3; `overall`: of whole conversations, S0; `score`: R1 = (R2 + S0) / 2; `unresolved` and
        `comparisons`: how many.
    """
    levels: dict[str, list[float]] = {}
    for dialogue, found in zip(dialogues, judged, strict=True):
        for turn, share in zip(dialogue.turns, found.turns, strict=True):
            levels.setdefault(turn.kind or "turns", []).append(share)
    turns = 100 * float(np.mean([share for found in judged for share in found.turns]))
    overall = 100 * float(np.mean([found.overall for found in judged]))
    return {
        "levels": {level: 100 * float(np.mean(shares)) for level, shares in levels.items()},
        "turns": turns,
        "overall": overall,
        "score": (turns + overall) / 2,
        "unresolved": sum(found.unresolved for found in judged),
        "comparisons": sum(found.comparisons for found in judged),
    }
