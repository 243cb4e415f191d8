"""From answers to `results.json`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pinhole.budget import Budget, LLMShape
from pinhole.data import Dialogue, Turn
from pinhole.evaluation import provenance
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.paired import corrected, paired, recovery, right_of
from pinhole.evaluation.statistics import mean_interval

SIZES, LARGEST = ((0.01, "under 1 %"), (0.1, "1 to 10 %")), "over 10 %"
"""Sizes of the objects that answers are about, as shares of the picture."""


def summarize(
    contenders: list[Contender],
    dialogues: list[Dialogue],
    answered: dict[tuple[str, str], Answered],
    shape: LLMShape,
    ttft_ms: dict[str, float],
) -> list[dict[str, Any]]:
    """One row for each contender, in their order.

    Accuracies and intervals are fractions of 1. `flops` and `kv_bytes` are means over the dialogues of the first
    turn's prefill (and what a method at the input itself computes) and of the KV cache after it; `per_layer` has the
    mean visual tokens in every layer of the LLM, `kept_tokens` the mean of these. `recovery` is the accuracy divided by
    that of the uncompressed model, `by_size` the accuracy by the size of the object that an answer is about, where the
    data says it. `to_full` and `to_sample` hold the row against the uncompressed model's row and
    against that of `sample` with the same keep, as `Paired` says; `delta_to_sample` is the second's difference.
    `contender` is the name of the row's answers in `answers.jsonl`.
    """
    held = {c.key: [answered[c.key, dialogue.id] for dialogue in dialogues] for c in contenders}
    full = next((c.key for c in contenders if c.name == "full"), None)
    samples = {c.keep: c.key for c in contenders if c.name == "sample"}
    only = next(iter(samples.values())) if len(samples) == 1 else None
    to_full = _against({c.key: full for c in contenders}, held)
    to_sample = _against({c.key: samples.get(c.keep) or only for c in contenders}, held)
    rows = []
    for contender in contenders:
        own, beside = held[contender.key], to_sample.get(contender.key)
        recovered = (None, None) if full in (None, contender.key) else recovery(own, held[full])
        rows.append(
            {
                **_row(contender, own, dialogues, shape),
                "recovery": recovered[0],
                "recovery_ci95": recovered[1],
                "to_full": to_full.get(contender.key),
                "to_sample": beside,
                "delta_to_sample": beside and beside["difference"],
                "delta_ci95": beside and beside["ci95"],
                "ttft_ms": ttft_ms.get(contender.key),
            }
        )
    return rows


def _row(contender: Contender, records: list[Answered], dialogues: list[Dialogue], shape: LLMShape) -> dict[str, Any]:
    """What a contender's own answers say."""
    budgets = [[contender.plan.budget(n, m, shape.layers) for n, m in r.images] for r in records]
    per_layer = [_mean(sum(b.per_layer[i] for b in of_one) for of_one in budgets) for i in range(shape.layers)]
    asked = np.array([len(dialogue.turns) for dialogue in dialogues])
    right = right_of(records)
    return {
        "method": contender.name,
        "contender": contender.key,
        "settings": contender.settings,
        "keep": contender.keep,
        "visual_tokens": _mean(sum(n for n, _ in record.images) for record in records),
        "kept_tokens": _mean(per_layer),
        "per_layer": per_layer,
        "accuracy": _by_turn(records),
        "average": float(right.sum() / asked.sum()),
        "ci95": mean_interval(right, asked),
        "by_kind": _by(_kind, records, dialogues),
        "by_size": _by(_size, records, dialogues),
        **cost_of(contender, records, shape),
        "dialogues": len(dialogues),
    }


def _against(others: dict[str, str | None], held: dict[str, list[Answered]]) -> dict[str, dict[str, Any]]:
    """Each contender held against its other, where it has one that is not itself; p values corrected for all."""
    pairs = [(one, other) for one, other in others.items() if other is not None and other != one]
    found = corrected([paired(held[one], held[other]) for one, other in pairs])
    return {one: asdict(comparison) for (one, _), comparison in zip(pairs, found, strict=True)}


def paired_difference(
    one: str, other: str, dialogues: list[Dialogue], answered: dict[tuple[str, str], Answered]
) -> tuple[float, tuple[float, float]]:
    """How much more of the turns `one` answers right than `other` on the same dialogues, and its 95 % interval."""
    asked = np.array([len(dialogue.turns) for dialogue in dialogues])
    right = [np.array([sum(answered[key, dialogue.id].correct) for dialogue in dialogues]) for key in (one, other)]
    gained = right[0] - right[1]
    return float(gained.sum() / asked.sum()), mean_interval(gained, asked)


def write_results(path: Path, model: str, data: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write `results.json` with what it was made with, and return it."""
    results = {
        "model": model,
        "data": data,
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "rows": rows,
    }
    return save(path, results)


def save(path: Path, results: dict[str, Any]) -> dict[str, Any]:
    """Write results as JSON, whole or not at all, and return them as they will be read."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(results, indent=2) + "\n")
    partial.replace(path)
    return json.loads(path.read_text())


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _by_turn(records: list[Answered]) -> list[float]:
    turns = max(len(record.correct) for record in records)
    return [_mean(r.correct[turn] for r in records if len(r.correct) > turn) for turn in range(turns)]


def _by(group: Callable[[Turn], str | None], records: list[Answered], dialogues: list[Dialogue]) -> dict[str, float]:
    """Accuracy over the turns of each group; those without one are in none."""
    scores: dict[str, list[float]] = defaultdict(list)
    for record, dialogue in zip(records, dialogues, strict=True):
        for turn, correct in zip(dialogue.turns, record.correct, strict=True):
            if (name := group(turn)) is not None:
                scores[name].append(correct)
    return {name: _mean(scores[name]) for name in sorted(scores)}


def _kind(turn: Turn) -> str | None:
    return turn.kind


def _size(turn: Turn) -> str | None:
    """Where the size of the object that an answer is about lies, as a share of the picture."""
    if turn.size is None:
        return None
    return next((name for limit, name in SIZES if turn.size < limit), LARGEST)


def cost_of(contender: Contender, records: list[Answered], shape: LLMShape) -> dict[str, float]:
    """Mean FLOPs of the first turn's prefill, a method's own work included, and mean bytes of the KV cache after it."""
    flops, kv_bytes = [], []
    for record in records:
        budgets = [contender.plan.budget(n, m, shape.layers) for n, m in record.images]
        per_layer = tuple(map(sum, zip(*(budget.per_layer for budget in budgets), strict=True)))
        budget = Budget(sum(budget.before for budget in budgets), per_layer)
        own = sum(contender.plan.entry.flops(n, m, shape.width) for n, m in record.images if m < n)
        flops.append(budget.prefill_flops(shape, record.text_tokens) + own)
        kv_bytes.append(budget.kv_bytes(shape, record.text_tokens))
    return {"flops": _mean(flops), "kv_bytes": _mean(kv_bytes)}
