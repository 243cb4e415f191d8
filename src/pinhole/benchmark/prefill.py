"""The first turn step by step: what the encoder, a method and the LLM do up to the first token."""

from __future__ import annotations

from collections.abc import Callable, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from pinhole.benchmark.rivals import Watched
from pinhole.benchmark.subject import Subject
from pinhole.compression import compress
from pinhole.decide import decide
from pinhole.families.first_layer import of_prompt, with_prompt_cues
from pinhole.families.parts import Visual
from pinhole.plan import Method, Plan
from pinhole.reduction import Reduction
from pinhole.scope import Scope


@dataclass(frozen=True, eq=False)
class Prefilled:
    """What a prefill left.

    Attributes:
        cache: the KV cache.
        reductions: at the LLM's input, one for each image.
    """

    cache: DynamicCache
    reductions: list[Reduction]


def encoder_cues(plan: Plan) -> Set[str]:
    """What the method at the input reads in the encoder."""
    return plan.entry.needs - of_prompt(plan.entry.needs)


def encode(subject: Subject, plan: Plan) -> list[Visual]:
    """Run encoder and projector, and note the cues in the encoder."""
    return subject.family.encode(subject.first, encoder_cues(plan))[0]


def decide_all(subject: Subject, plan: Plan, visuals: list[Visual]) -> None:
    """The work of the method at the input: cues of the prompt, the decision, and P X."""
    family = subject.family
    visuals = with_prompt_cues(family, subject.first, visuals, plan.entry.needs)
    family.decided(visuals, [decide(plan.entry, visual, Scope()) for visual in visuals])


@torch.no_grad()
def prefill(
    subject: Subject, plan: Plan, around: Callable[[], AbstractContextManager[object]] | None = None
) -> Prefilled:
    """Everything up to the first token's logits.

    Args:
        subject: what is measured.
        plan: what reduces.
        around: opens a block for each decision inside the LLM.
    """
    methods: list[Method] = [plan.entry]
    if plan.layer:
        methods.append(Watched(inner=plan.layer, around=around) if around else plan.layer)
    cache = DynamicCache(config=subject.model.config.get_text_config(decoder=True))
    with compress(subject.model, methods) as compression:
        subject.model(**subject.first, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return Prefilled(cache, compression.reductions)
