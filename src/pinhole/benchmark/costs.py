"""What a contender computes and holds, which is the same every time: FLOPs, KV bytes, visual tokens in every layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from pinhole.benchmark.flops import flop_counter
from pinhole.benchmark.prefill import decide_all, encode, encoder_cues, prefill
from pinhole.benchmark.subject import Subject
from pinhole.budget import Budget
from pinhole.decide import check_plan
from pinhole.evaluation.contender import Contender
from pinhole.families.parts import Visual
from pinhole.plan import Plan


@torch.no_grad()
def cost_of(subject: Subject, contender: Contender) -> dict[str, Any]:
    """The first turn up to its first token, counted and, beside it, as `budget` has it.

    FLOPs are split in three: the encoder and the projector without cues; the method's own, which are its cues, its
    decision, P X and, inside the LLM, its scores; and the LLM's, which are the rest. A multiply-add counts as two.

    Raises:
        ValueError: the method cannot work on this model.
    """
    plan = contender.plan
    check_plan(plan, subject.family)
    visuals: list[Visual] = []
    encoder = encoded = _flops(lambda: visuals.extend(encode(subject, plan)))
    if encoder_cues(plan):
        encoder = _flops(lambda: encode(subject, Plan.of(None)))
    own = encoded - encoder + _flops(lambda: decide_all(subject, plan, visuals))
    inside: list[int] = []
    with flop_counter() as counter:

        @contextlib.contextmanager
        def around() -> Iterator[None]:
            before = counter.get_total_flops()
            yield
            inside.append(counter.get_total_flops() - before)

        prefilled = prefill(subject, plan, around)
        total = counter.get_total_flops()
    own += sum(inside)
    images = [(reduction.n, reduction.m) for reduction in prefilled.reductions]
    return {
        "visual_tokens": sum(n for n, _ in images),
        "flops": {"encoder": encoder, "method": own, "llm": total - encoder - own, "total": total},
        "kv_bytes": sum(layer.keys.nbytes + layer.values.nbytes for layer in prefilled.cache.layers),
        **_analytic(subject, contender, images),
    }


def _analytic(subject: Subject, contender: Contender, images: list[tuple[int, int]]) -> dict[str, Any]:
    shape, plan = subject.family.shape, contender.plan
    budgets = [plan.budget(n, m, shape.layers) for n, m in images]
    per_layer = tuple(map(sum, zip(*(budget.per_layer for budget in budgets), strict=True)))
    budget = Budget(sum(n for n, _ in images), per_layer)
    text = subject.first["input_ids"].shape[1] - budget.before
    own = sum(plan.entry.flops(n, m, shape.width) for n, m in images if m < n)
    return {
        "kept_tokens": budget.average,
        "per_layer": list(per_layer),
        "text_tokens": text,
        "analytic": {
            "flops": {"method": own, "llm": budget.prefill_flops(shape, text)},
            "kv_bytes": budget.kv_bytes(shape, text),
        },
    }


def _flops(work: Callable[[], object]) -> int:
    with flop_counter() as counter:
        work()
        return counter.get_total_flops()
