"""From measurements to rows: medians with quartiles, ratios to the uncompressed model, to Sample and to the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pinhole.benchmark.rivals import LIMIT
from pinhole.evaluation.contender import Contender

Spread = dict[str, float]
"""`median`, `q1` and `q3`."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One contender and what was measured.

    Attributes:
        contender: it.
        cost: what `cost_of` gives.
        memory: one `{"peak_bytes": ...}` a dialogue.
        times: what `times_of` gives, repetition by repetition.
    """

    contender: Contender
    cost: dict[str, Any]
    memory: list[dict[str, Any]]
    times: list[dict[str, float]]


def summarize(found: list[Measured]) -> list[dict[str, Any]]:
    """One row for each contender, in their order; the limits among them have the method "limit".

    `ms` has every time of `times_of`, `peak_bytes` the most memory of a dialogue above the model's weights (null
    where it cannot be told), `flops` and `kv_bytes` what was counted in the first turn up to its first token, with what
    `budget` says beside it under `analytic`. `to_full` and `to_sample` divide the contender's by those of the
    uncompressed model, and of Sample at the same keep: times repetition by repetition, whose median it is. `speedup`
    is of the time to the first token: as measured, as the FLOPs allow it, and the one as a share of the other.
    `share_of_limit` is the limit's time to the first token at the same keep divided by the contender's.
    """
    full = next((one for one in found if one.contender.name == "full"), None)
    rows = []
    for one in found:
        contender, cost = one.contender, one.cost
        row = {
            "method": contender.name,
            "settings": {name: value for name, value in contender.settings.items() if name != "given"},
            "keep": contender.keep,
            **cost,
            "ms": {name: spread([times[name] for times in one.times]) for name in one.times[0]},
            "peak_bytes": _peak(one),
            "to_full": _ratios(one, full),
            "to_sample": _ratios(one, _at_same_keep(found, one, "sample")),
            "speedup": None,
            "share_of_limit": None,
        }
        if full:
            measured = _paired(full, one, "ttft")
            allowed = full.cost["flops"]["total"] / cost["flops"]["total"]
            row["speedup"] = {"measured": measured, "allowed": allowed, "share": measured["median"] / allowed}
        if best := _at_same_keep(found, one, LIMIT):
            row["share_of_limit"] = _paired(best, one, "ttft")["median"]
        rows.append(row)
    return rows


def spread(values: list[float]) -> Spread:
    """The median and the quartiles."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


def _paired(one: Measured, other: Measured, name: str) -> Spread:
    """A time of one divided by that of another in the same repetition."""
    return spread([a[name] / b[name] for a, b in zip(one.times, other.times, strict=True)])


def _peak(one: Measured) -> Spread | None:
    peaks = [memory["peak_bytes"] for memory in one.memory]
    return None if None in peaks else spread(peaks)


def _ratios(one: Measured, base: Measured | None) -> dict[str, Any] | None:
    if base is None:
        return None
    peaks = _peak(one), _peak(base)
    return {
        "ms": {name: _paired(one, base, name)["median"] for name in one.times[0]},
        "peak_bytes": peaks[0]["median"] / peaks[1]["median"] if peaks[0] and peaks[1] else None,
        "kv_bytes": one.cost["kv_bytes"] / base.cost["kv_bytes"],
        "flops": one.cost["flops"]["total"] / base.cost["flops"]["total"],
    }


def _at_same_keep(found: list[Measured], one: Measured, name: str) -> Measured | None:
    """The contender of this name that was given the same keep."""
    named = (other for other in found if other.contender.name == name)
    return next((other for other in named if other.contender.keep == one.contender.keep), None)
