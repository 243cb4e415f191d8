"""Which settings are compared at all, and what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinhole.choose.candidates import Candidate
from pinhole.choose.field import Field
from pinhole.choose.settings import SearchSettings
from pinhole.data import Dialogue
from pinhole.evaluation.results import cost_of
from pinhole.families import family_of


@dataclass(frozen=True, eq=False)
class Entrants:
    """Settings that are ready to be compared.

    Attributes:
        able: they can hold dialogues, and are as fast as was asked.
        slow: those that are not, as JSON values.
        refused: those that cannot be held, with the reason.
        flops: mean FLOPs of the first turn's prefill, by contender key.
        ttft_ms: by contender key; empty where no time matters.
    """

    able: list[Candidate]
    slow: list[dict[str, Any]]
    refused: list[dict[str, str]]
    flops: dict[str, float]
    ttft_ms: dict[str, float]


def enter(
    field: Field, found: list[Candidate], order: list[Dialogue], searched: SearchSettings, times: Path
) -> Entrants:
    """Try settings out, take their times where these matter, and leave out what is too slow.

    Where the most accurate setting is looked for, the uncompressed model is one.

    Raises:
        ValueError: nothing is left.
    """
    limit, shape = searched.bounds.max_ttft_ms, family_of(field.model).shape
    found, refused = field.try_out(found, order[: searched.first])
    if searched.bounds.max_loss is None:
        found = [*found, Candidate("full", 1.0, field.full)]
    ttft_ms = field.times(found, order[: searched.ttft_dialogues], times) if searched.times else {}
    slow = [] if limit is None else [one for one in found if ttft_ms[one.contender.key] > limit]
    able = [one for one in found if one not in slow]
    if not able:
        raise ValueError(_nothing_left(slow, ttft_ms, refused))
    held = field.hold([one.contender for one in able], order[: searched.first])
    named = {field.full.key: field.full, **{one.contender.key: one.contender for one in able}}
    flops = {key: cost_of(contender, held[key], shape)["flops"] for key, contender in named.items()}
    told = [{"method": one.method, "keep": one.keep, "ttft_ms": ttft_ms[one.contender.key]} for one in slow]
    return Entrants(able, told, refused, flops, ttft_ms)


def _nothing_left(slow: list[Candidate], ttft_ms: dict[str, float], refused: list[dict[str, str]]) -> str:
    if not slow:
        return f"no setting can be held: {refused[0]['method']}: {refused[0]['reason']}"
    fastest = min(slow, key=lambda one: ttft_ms[one.contender.key])
    return (
        f"no setting is as fast as was asked: the fastest, {fastest.method} at keep {fastest.keep}, takes "
        f"{ttft_ms[fastest.contender.key]:.1f} ms to the first token"
    )
