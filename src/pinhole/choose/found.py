"""What is known of each setting at the end of a search, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pinhole.choose.betting import at_most
from pinhole.choose.candidates import Candidate
from pinhole.choose.race import Race
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.paired import right_of
from pinhole.evaluation.statistics import mean_interval

Row = dict[str, Any]


def row_of(
    candidate: Candidate,
    own: Sequence[Answered],
    full: Sequence[Answered],
    race: Race,
    flops: Mapping[str, float],
    ttft_ms: Mapping[str, float],
) -> Row:
    """One setting.

    `loss` is the accuracy lost against the uncompressed model on the same dialogues, a fraction of 1, `ci95` its
    interval by the bootstrap; `loss_at_most` is what it is shown to lose at most, with the part of the error that the
    setting was given in the search.

    Args:
        candidate: the setting.
        own: its answers.
        full: those of the uncompressed model, to the same dialogues.
        race: that it took part in.
        flops: by contender key.
        ttft_ms: by contender key; empty where no time was measured.
    """
    contender = candidate.contender
    right, base = right_of(own), right_of(full)
    lengths = np.array([len(record.correct) for record in full])
    return {
        "method": candidate.method,
        "keep": candidate.keep if contender.keep is not None else None,
        "contender": contender.key,
        "state": race.states[contender.key],
        "flops": flops[contender.key],
        "ttft_ms": ttft_ms.get(contender.key),
        "dialogues": len(own),
        "accuracy": float(right.sum() / lengths.sum()),
        "loss": float((base - right).sum() / lengths.sum()),
        "ci95": mean_interval(base - right, lengths),
        "loss_at_most": at_most(race.level, base - right, lengths, race.longest) if candidate.method != "full" else 0.0,
        "on_front": False,
    }


def mark_front(rows: Sequence[Row], cost: str) -> None:
    """Note which rows are on the Pareto front: no other costs less and loses no more, or loses less at no more cost."""
    for row in rows:
        row["on_front"] = not any(
            other[cost] <= row[cost]
            and other["loss"] <= row["loss"]
            and (other[cost] < row[cost] or other["loss"] < row["loss"])
            for other in rows
        )
