"""From answers to `results.json`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pinhole.budget import Budget, LLMShape
from pinhole.data import Dialogue
from pinhole.evaluation import provenance
from pinhole.evaluation.answers import Answered
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.statistics import mean_interval


def summarize(
    contenders: list[Contender],
    dialogues: list[Dialogue],
    answered: dict[tuple[str, str], Answered],
    shape: LLMShape,
    ttft_ms: dict[str, float],
) -> list[dict[str, Any]]:
    """One row for each contender, in their order.

    Accuracies and intervals are fractions of 1. `flops` and `kv_bytes` are means over the dialogues of the first
    turn's prefill (and what a method at the input itself computes) and of the KV cache after it; `delta_to_sample` is
    the paired difference to the row of `sample` with the same keep. `per_layer` has the mean visual tokens in every
    layer of the LLM, `kept_tokens` the mean of these.
    """
    samples = {c.keep: c.key for c in contenders if c.name == "sample"}
    asked = np.array([len(dialogue.turns) for dialogue in dialogues])
    rows = []
    for contender in contenders:
        records = [answered[contender.key, dialogue.id] for dialogue in dialogues]
        budgets = [[contender.plan.budget(n, m, shape.layers) for n, m in r.images] for r in records]
        per_layer = [_mean(sum(b.per_layer[i] for b in of_one) for of_one in budgets) for i in range(shape.layers)]
        right = np.array([sum(record.correct) for record in records])
        row: dict[str, Any] = {
            "method": contender.name,
            "settings": contender.settings,
            "keep": contender.keep,
            "visual_tokens": _mean(sum(n for n, _ in record.images) for record in records),
            "kept_tokens": _mean(per_layer),
            "per_layer": per_layer,
            "accuracy": _by_turn(records),
            "average": float(right.sum() / asked.sum()),
            "ci95": mean_interval(right, asked),
            "delta_to_sample": None,
            "delta_ci95": None,
            "by_kind": _by_kind(records, dialogues),
            **_cost(contender, records, shape),
            "ttft_ms": ttft_ms.get(contender.key),
            "dialogues": len(dialogues),
        }
        sample = samples.get(contender.keep) or (next(iter(samples.values())) if len(samples) == 1 else None)
        if sample is not None and sample != contender.key:
            row["delta_to_sample"], row["delta_ci95"] = paired_difference(contender.key, sample, dialogues, answered)
        rows.append(row)
    return rows


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


def _by_kind(records: list[Answered], dialogues: list[Dialogue]) -> dict[str, float]:
    scores: dict[str, list[bool]] = defaultdict(list)
    for record, dialogue in zip(records, dialogues, strict=True):
        for turn, correct in zip(dialogue.turns, record.correct, strict=True):
            if turn.kind is not None:
                scores[turn.kind].append(correct)
    return {kind: _mean(scores[kind]) for kind in sorted(scores)}


def _cost(contender: Contender, records: list[Answered], shape: LLMShape) -> dict[str, float]:
    flops, kv_bytes = [], []
    for record in records:
        budgets = [contender.plan.budget(n, m, shape.layers) for n, m in record.images]
        per_layer = tuple(map(sum, zip(*(budget.per_layer for budget in budgets), strict=True)))
        budget = Budget(sum(budget.before for budget in budgets), per_layer)
        own = sum(contender.plan.entry.flops(n, m, shape.width) for n, m in record.images if m < n)
        flops.append(budget.prefill_flops(shape, record.text_tokens) + own)
        kv_bytes.append(budget.kv_bytes(shape, record.text_tokens))
    return {"flops": _mean(flops), "kv_bytes": _mean(kv_bytes)}
