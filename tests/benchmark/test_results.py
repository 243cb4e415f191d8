"""Rows and tables from measurements whose medians and ratios are known."""

from __future__ import annotations

import pytest
import torch

from pinhole.benchmark.results import Measured, spread, summarize
from pinhole.benchmark.rivals import limit
from pinhole.benchmark.table import milliseconds, tables
from pinhole.evaluation.contender import Contender
from pinhole.methods.full import Full
from pinhole.methods.sample import Sample
from pinhole.view.table import as_markdown

NAMES = ("encoder", "method", "ttft", "token", "turn", "dialogue", "dialogue_without_reuse")


def measured(contender, total, kv, ttfts, peak=None):
    cost = {
        "visual_tokens": 100,
        "kept_tokens": 10.0,
        "per_layer": [10, 10],
        "text_tokens": 8,
        "flops": {"encoder": 100, "method": 0, "llm": total - 100, "total": total},
        "kv_bytes": kv,
        "analytic": {"flops": {"method": 0, "llm": total - 100}, "kv_bytes": kv},
    }
    times = [{**dict.fromkeys(NAMES, 2.0), "ttft": ttft} for ttft in ttfts]
    return Measured(contender, cost, [{"peak_bytes": peak}] * 2, times)


@pytest.fixture
def found():
    return [
        measured(Contender("full", (Full(),), 1.0), 1000, 40, [8.0, 20.0, 9.0], 300),
        measured(Contender("sample", (Sample(0.1),), 0.1), 400, 10, [4.0, 5.0, 3.0], 100),
        measured(limit(100, 0.1, torch.device("cpu")), 400, 10, [4.0, 4.0, 3.0], 90),
    ]


def test_medians_and_quartiles():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}


def test_ratios_are_medians_of_the_ratios_of_each_repetition(found):
    _, sample, _ = summarize(found)
    # 8/4, 20/5, 9/3: the machine was slow in the second repetition, for both
    assert sample["speedup"]["measured"] == {"median": 3.0, "q1": 2.5, "q3": 3.5}
    assert sample["speedup"]["allowed"] == 2.5
    assert sample["speedup"]["share"] == 3.0 / 2.5
    assert sample["to_full"]["ms"]["ttft"] == 1 / 3
    assert sample["to_full"]["peak_bytes"] == 100 / 300
    assert sample["to_full"]["kv_bytes"] == 0.25
    assert sample["to_full"]["flops"] == 0.4
    assert sample["share_of_limit"] == 1.0
    assert sample["ms"]["ttft"]["median"] == 4.0


def test_without_a_peak_there_is_no_ratio_of_peaks(found):
    found[1] = measured(Contender("sample", (Sample(0.1),), 0.1), 400, 10, [4.0, 5.0, 3.0])
    _, sample, _ = summarize(found)
    assert (sample["peak_bytes"], sample["to_full"]["peak_bytes"]) == (None, None)


def test_tables_hold_the_rows_larger_keeps_first(found):
    results = {"rows": summarize(found), "refused": [], "dialogue": {"turns": 3}}
    first, dialogue, cost = (as_markdown(table).splitlines() for table in tables(results).values())
    assert [line.split(" | ")[0] for line in first[2:]] == ["| Full", "| Sample", "| limit"]
    assert first[3] == "| Sample | 10 | 2 | 2 | 4 [3.5, 4.5] | 3.00× | 2.50× | 100.0 % | 100.0 % |"
    assert "3 turns, all read anew" in dialogue[0]
    assert cost[3] == "| Sample | 10 | 100  | 0 | 300  | 300  | 10 B | 100 B | 33.3 % |"


def test_tables_of_nothing_say_why():
    with pytest.raises(
        ValueError, match="none of the methods could be measured: dart was not measured: too few layers"
    ):
        tables({"rows": [], "refused": [{"method": "dart", "reason": "too few layers"}], "dialogue": {"turns": 1}})


@pytest.mark.parametrize(
    ("value", "text"), [(0.31234, "0.312"), (28.41, "28.4"), (99.96, "100"), (1204.4, "1,204"), (2.0, "2")]
)
def test_milliseconds_have_three_digits(value, text):
    assert milliseconds(value) == text
