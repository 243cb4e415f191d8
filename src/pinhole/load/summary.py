"""From requests to what a server reached, and how several compare."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from pinhole.load.metrics import Watched
from pinhole.load.play import Request

PERCENTILES = (50, 95, 99)
REASONS = 10
"""Of the errors, the most frequent ones are told."""


@dataclass(frozen=True)
class Round:
    """One load on one server.

    Attributes:
        seconds: that it took.
        requests: of it, in the order in which they ended.
        watched: what the server told of itself.
    """

    seconds: float
    requests: list[Request]
    watched: Watched


def summarize(rounds: list[Round]) -> dict[str, Any]:
    """What one server reached: rates by the round and their medians, times over the requests of all rounds.

    `ttft_ms` has the percentiles (linear interpolation) of all requests that were answered, of first turns and of
    later ones; null where there are none. `prefix_hit_rate` is the share of prompt tokens that were found in the
    prefix cache, as the server's counters say, `cached_share` the same from the answers' usage. For `kv` see
    `kv_use`.
    """
    requests = [request for one in rounds for request in one.requests]
    answered = [request for request in requests if request.outcome == "answered"]
    per_round = [_rates(one) for one in rounds]
    first = [request for request in answered if request.turn == 0]
    later = [request for request in answered if request.turn > 0]
    reasons = Counter(request.reason for request in requests if request.outcome == "failed")
    return {
        "requests": {outcome: _count(requests, outcome) for outcome in ("answered", "failed", "cut")},
        "errors": dict(reasons.most_common(REASONS)),
        "rounds": per_round,
        **{name: float(np.median([rates[name] for rates in per_round])) for name in per_round[0] if name != "seconds"},
        "ttft_ms": {"all": percentiles(answered), "first_turn": percentiles(first), "later_turns": percentiles(later)},
        "prefix_hit_rate": _share(
            [one.watched.prefix_hits for one in rounds], [one.watched.prefix_queries for one in rounds]
        ),
        "cached_share": _share(
            [request.cached_tokens for request in answered], [request.prompt_tokens for request in answered]
        ),
        "kv": kv_use(rounds),
    }


def percentiles(requests: list[Request]) -> dict[str, float] | None:
    """p50, p95 and p99 of the time to the first token in milliseconds."""
    times = [1000 * request.ttft_s for request in requests if request.ttft_s is not None]
    if not times:
        return None
    return {f"p{q}": float(value) for q, value in zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)}


def kv_use(rounds: list[Round]) -> dict[str, Any]:
    """How much of the KV cache dialogues take.

    `tokens_per_dialogue` is the mean over dialogues that were answered to the end of what the last turn left: its
    prompt and its answer; `blocks_per_dialogue` the same in whole blocks. `dialogues_fit` is how many of these the
    server's blocks hold. Measured are `peak_blocks`, the most that were in use, and `streaming_peak`, the most answers
    that were between their first token and their end at once: of these the whole prompt is in the cache.
    """
    told = rounds[-1].watched
    ends = [tokens for one in rounds for tokens in _lengths(one.requests)]
    blocks = [math.ceil(tokens / told.block_size) for tokens in ends] if told.block_size else []
    per_dialogue = float(np.mean(blocks)) if blocks else None
    share = _most([one.watched.kv_peak for one in rounds])
    return {
        "blocks": told.kv_blocks,
        "block_size": told.block_size,
        "tokens_per_dialogue": float(np.mean(ends)) if ends else None,
        "blocks_per_dialogue": per_dialogue,
        "dialogues_fit": int(told.kv_blocks / per_dialogue) if told.kv_blocks and per_dialogue else None,
        "peak_share": share,
        "peak_blocks": None if share is None or told.kv_blocks is None else share * told.kv_blocks,
        "streaming_peak": max(streaming_peak(one.requests) for one in rounds),
        "waiting_peak": _most([one.watched.waiting_peak for one in rounds]),
        "preemptions": _sum([one.watched.preemptions for one in rounds]),
    }


def streaming_peak(requests: list[Request]) -> int:
    """The most answers that were being written at once."""
    spans = [(one.start_s + one.ttft_s, one.end_s) for one in requests if one.ttft_s is not None]
    events = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(itertools.accumulate(step for _, step in events), default=0)


def ratios(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One server relative to the first: its value divided by the first's.

    Rates are paired by the round, and the median of these ratios is taken. `dialogues_in_same_kv` is how many times as
    many dialogues the same KV space holds: the first's blocks per dialogue divided by the other's (by tokens where
    blocks are not known).
    """
    held = [one["kv"] for one in (first, other)]
    unit = "blocks_per_dialogue" if all(kv["blocks_per_dialogue"] for kv in held) else "tokens_per_dialogue"
    return {
        **{name: _paired(first["rounds"], other["rounds"], name) for name in ("requests_per_s", "output_tokens_per_s")},
        "ttft_ms": {
            kind: {f"p{q}": _ratio(_at(other, kind, q), _at(first, kind, q)) for q in PERCENTILES}
            for kind in first["ttft_ms"]
        },
        "dialogues_in_same_kv": _ratio(held[0][unit], held[1][unit]),
        "peak_blocks": _ratio(held[1]["peak_blocks"], held[0]["peak_blocks"]),
        "streaming_peak": _ratio(held[1]["streaming_peak"], held[0]["streaming_peak"]),
    }


def _paired(first: list[dict[str, float]], other: list[dict[str, float]], name: str) -> float | None:
    """The median over rounds of a rate's ratio; None where the first reached nothing in one of them."""
    found = [_ratio(b[name], a[name]) for a, b in zip(first, other, strict=True)]
    known = [ratio for ratio in found if ratio is not None]
    return float(np.median(known)) if len(known) == len(found) else None


def _rates(one: Round) -> dict[str, float]:
    answered = [request for request in one.requests if request.outcome == "answered"]
    tokens = sum(request.output_tokens or 0 for request in answered)
    return {
        "seconds": one.seconds,
        "requests_per_s": len(answered) / one.seconds,
        "output_tokens_per_s": tokens / one.seconds,
    }


def _lengths(requests: list[Request]) -> list[int]:
    """Tokens in the KV cache behind the last turn, of dialogues in which no turn failed or was cut."""
    last = {request.dialogue: request for request in sorted(requests, key=lambda request: request.turn)}
    return [
        request.prompt_tokens + (request.output_tokens or 0)
        for request in last.values()
        if request.outcome == "answered" and request.prompt_tokens is not None
    ]


def _count(requests: list[Request], outcome: str) -> int:
    return sum(request.outcome == outcome for request in requests)


def _share(parts: list[Any], wholes: list[Any]) -> float | None:
    """The sum of parts divided by that of wholes, over the pairs in which both are known."""
    pairs = [(part, whole) for part, whole in zip(parts, wholes, strict=True) if part is not None and whole is not None]
    total = sum(whole for _, whole in pairs)
    return sum(part for part, _ in pairs) / total if total else None


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _at(row: dict[str, Any], kind: str, percentile: int) -> float | None:
    found = row["ttft_ms"][kind]
    return found[f"p{percentile}"] if found else None


def _most(found: list[Any]) -> Any:
    return max((value for value in found if value is not None), default=None)


def _sum(found: list[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return sum(known) if known else None
