"""runs/methods.py --add: rows that join what is published."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "runs" / "methods.py"
MADE = {"commit": "0123456789abcdef", "versions": {"torch": "1", "transformers": "2"}}
MADE["hardware"] = {"cpu": "C", "cores": 2, "threads": 2, "gpu": None}


def row(method: str, keep: float, accuracy: float, flops: float, ttft: float | None = None) -> dict:
    numbers = {"accuracy": [accuracy], "average": accuracy, "flops": flops, "kv_bytes": 8, "ttft_ms": ttft}
    return {"method": method, "settings": {}, "keep": keep, **numbers}


@pytest.fixture
def joined():
    return runpy.run_path(str(SCRIPT))["joined"]


PUBLISHED = {
    **MADE,
    "commit": "f" * 16,
    "rows": [
        row("full", 1.0, 1.0, 100, 9.0),
        row("sample", 0.1, 0.5, 10, 2.0),
        row("tome", 0.1, 0.75, 12, 3.0),
        row("metacompress", 0.1, 0.875, 11, 2.5),
        row("fastv", 0.5, 1.0, 60, 5.0),
    ],
}


def test_new_rows_stand_behind_those_of_their_stage_and_say_what_made_them(joined):
    found = {
        **MADE,
        "rows": [row("sample", 0.1, 0.5, 10), row("tome", 0.1, 0.75, 10.5), row("pinhole", 0.1, 0.9375, 11)],
    }
    results = joined(PUBLISHED, found)
    assert [one["method"] for one in results["rows"]] == ["full", "sample", "tome", "metacompress", "pinhole", "fastv"]
    assert results["added"] == [{"methods": ["pinhole"], **MADE}]
    assert results["commit"] == "f" * 16
    assert (results["rows"][2]["flops"], results["rows"][2]["ttft_ms"]) == (10.5, 3.0)
    assert joined(results, found)["added"] == results["added"], "a second time nothing is new"


def test_answers_that_differ_from_the_published_ones_are_refused(joined):
    with pytest.raises(ValueError, match=r"sample at keep 0\.1 answers 75\.0 % right here, published are 50\.0 %"):
        joined(PUBLISHED, {**MADE, "rows": [row("sample", 0.1, 0.75, 10)]})
