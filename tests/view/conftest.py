"""Made-up results in the layout that the report takes."""

from __future__ import annotations

import pytest


def make_row(method, keep, kept, average, delta=None, **more):
    """One row with plausible numbers; `more` replaces fields."""
    share = kept / 144
    return {
        "method": method,
        "settings": {},
        "keep": keep,
        "visual_tokens": 144,
        "kept_tokens": kept,
        "accuracy": [average + 0.02, average, average - 0.02],
        "average": average,
        "ci95": [average - 0.03, average + 0.02],
        "delta_to_sample": delta,
        "delta_ci95": None if delta is None else [delta - 0.02, delta + 0.02],
        "by_kind": {"color": average, "count": average - 0.1},
        "flops": 1e9 * share,
        "kv_bytes": 1e6 * share,
        "ttft_ms": None,
    } | more


def make_results(*rows):
    """Results of the rows, with a provenance."""
    return {
        "model": "embedded",
        "data": "test split",
        "commit": "0123abc",
        "versions": {"torch": "2.9.1"},
        "hardware": {"device": "CPU"},
        "rows": list(rows),
    }


@pytest.fixture
def results():
    """Full, Sample and MetaCompress at a tenth."""
    return make_results(
        make_row("full", 1.0, 144, 0.943, ttft_ms=31.25),
        make_row("sample", 0.1, 14, 0.601, ttft_ms=12.0),
        make_row("metacompress", 0.1, 14, 0.712, delta=0.111, settings={"d_c": 64}),
    )


@pytest.fixture
def row():
    """`make_row`, to make further rows."""
    return make_row
