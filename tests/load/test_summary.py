"""Numbers computed by hand."""

from __future__ import annotations

import pytest

from pinhole.load.metrics import Watched
from pinhole.load.play import Request
from pinhole.load.summary import Round, percentiles, ratios, streaming_peak, summarize
from pinhole.load.table import errors, table

SEEN = Watched(400, 100, 2, 50, 16, 0.6, 5)
UNSEEN = Watched(*[None] * 7)


def request(dialogue="a", turn=0, ttft_ms=10.0, prompt=100, cached=None, output=8, outcome="answered", reason=None):
    ttft = None if ttft_ms is None else ttft_ms / 1000
    return Request(dialogue, turn, 0.0, 1.0, ttft, prompt, cached, output, outcome, reason)


FAILED = request("z", ttft_ms=None, prompt=None, output=None, outcome="failed", reason="400: no image")
CUT = request("y", 1, ttft_ms=None, prompt=None, output=None, outcome="cut")


def test_percentiles_lie_between_neighbours():
    found = percentiles([request(ttft_ms=t) for t in (40.0, 10.0, 30.0, 20.0)])
    assert found == pytest.approx({"p50": 25.0, "p95": 38.5, "p99": 39.7})
    assert percentiles([FAILED]) is None


def test_one_server_over_two_rounds():
    one = [request("a", 0, 10, cached=0), request("a", 1, 2, prompt=120, cached=96), request("b", 0, 20), FAILED]
    two = [request("a", 0, 30), request("a", 1, 4, prompt=120), CUT, request("y", 0, 50), FAILED]
    row = summarize([Round(2.0, one, SEEN), Round(4.0, two, Watched(100, 25, 1, 50, 16, 0.9, 0))])
    assert row["requests"] == {"answered": 6, "failed": 2, "cut": 1}
    assert row["errors"] == {"400: no image": 2}
    assert [r["requests_per_s"] for r in row["rounds"]] == [1.5, 0.75]
    assert (row["requests_per_s"], row["output_tokens_per_s"]) == (1.125, 9.0)
    assert row["ttft_ms"]["first_turn"]["p50"] == pytest.approx(25)
    assert row["ttft_ms"]["later_turns"]["p50"] == pytest.approx(3)
    assert row["prefix_hit_rate"] == 0.25
    assert row["cached_share"] == pytest.approx(96 / 220), "only where the server tells"
    kv = row["kv"]
    # dialogues answered to the end: a and b of the first round, a of the second; 128, 108 and 128 tokens
    assert kv["tokens_per_dialogue"] == pytest.approx(364 / 3)
    assert kv["blocks_per_dialogue"] == pytest.approx((8 + 7 + 8) / 3)
    assert kv["dialogues_fit"] == 6
    assert (kv["peak_share"], kv["peak_blocks"], kv["waiting_peak"], kv["preemptions"]) == (0.9, 45, 5, 3)
    assert kv["streaming_peak"] == 3, "of one round"


def test_a_server_that_tells_nothing_and_answers_nothing():
    row = summarize([Round(1.0, [FAILED], UNSEEN)])
    assert row["requests_per_s"] == 0
    assert row["ttft_ms"] == {"all": None, "first_turn": None, "later_turns": None}
    assert (row["prefix_hit_rate"], row["cached_share"]) == (None, None)
    assert set(row["kv"].values()) == {None, 0}
    assert ratios(row, row)["requests_per_s"] is None


def test_servers_are_compared_round_by_round():
    slow = [Round(4.0, [request(ttft_ms=100, prompt=152)] * 2, SEEN), Round(2.0, [request(ttft_ms=100)] * 2, SEEN)]
    fast = Watched(0, 0, 0, 50, 16, 0.3, 0)
    quick = [Round(1.0, [request(ttft_ms=25, prompt=24)] * 2, fast), Round(1.0, [request(prompt=24)] * 2, fast)]
    found = ratios(summarize(slow), summarize(quick))
    assert found["requests_per_s"] == pytest.approx((4 + 2) / 2)
    assert found["ttft_ms"]["all"]["p50"] == pytest.approx(17.5 / 100)
    assert found["ttft_ms"]["later_turns"]["p50"] is None
    # 160 and 108 tokens are 10 and 7 blocks of 16; 32 tokens are 2
    assert found["dialogues_in_same_kv"] == pytest.approx(8.5 / 2)
    assert found["peak_blocks"] == pytest.approx(0.5)


def test_answers_that_are_written_at_once_are_counted():
    def span(start, end):
        return Request("a", 0, start - 1, end, 1.0, 9, None, 2, "answered", None)

    assert streaming_peak([span(0, 2), span(2, 4), span(3, 9), span(3, 5), span(4, 6), FAILED]) == 3
    assert streaming_peak([FAILED]) == 0


def test_tokens_stand_in_where_blocks_are_not_known():
    full, tenth = (summarize([Round(1.0, [request(prompt=p)], UNSEEN)]) for p in (592, 92))
    assert ratios(full, tenth)["dialogues_in_same_kv"] == 6


def test_the_table_shows_ratios_to_the_first_server_and_every_error():
    rows = [
        {"name": "full", **summarize([Round(4.0, [request(ttft_ms=1200, prompt=600), FAILED], SEEN)])},
        {"name": "tenth", **summarize([Round(1.0, [request(ttft_ms=300, prompt=60), CUT], UNSEEN)])},
    ]
    results = {"rows": [{**row, "to_first": ratios(rows[0], row)} for row in rows]}
    [[full, tenth]] = table(results).groups
    assert full == ["full", "0.25", "1,200", "1,200", "1,200", "25.0 %", "60.0 %", "1", "1"]
    assert tenth[:3] == ["tenth", "1 [4.00×]", "300 [0.25×]"]
    assert tenth[5:] == ["–", "–", "– [8.94×]", "0"]
    assert errors(results) == [
        "full: 1 failed: 400: no image",
        "tenth: 1 cut as the time was up; give a longer --time-limit or fewer --dialogues",
    ]
