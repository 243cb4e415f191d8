"""Prometheus pages, read and watched."""

from __future__ import annotations

import asyncio
import math

from pinhole.load.metrics import EVERY_S, Sample, parse, read, seen, values, watched

PAGE = r"""
# HELP vllm:prefix_cache_queries_total Tokens looked for, {not} a "label"
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="a \"b\" } c"} 100.0
vllm:prefix_cache_queries_total{engine="1"} 50 1700000000000
vllm:prefix_cache_queries_created{engine="0"} 1.7e+09
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.75
vllm:num_requests_waiting 3.0
vllm:cache_config_info{block_size="16",num_gpu_blocks="10",engine="0"} 1.0
vllm:cache_config_info{block_size="16",num_gpu_blocks="10",engine="1"} 1.0
bucket{le="+Inf"} +Inf
odd NaN
broken{le="1" 3
no value
"""


def page(queries: float, hits: float, share: float, waiting: int = 0) -> list[Sample]:
    return parse(
        f"vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n"
        f"vllm:kv_cache_usage_perc {share}\n"
        f'vllm:num_requests_waiting {waiting}\nvllm:cache_config_info{{block_size="32",num_gpu_blocks="40"}} 1\n'
    )


def test_a_page_is_read_line_by_line():
    samples = parse(PAGE)
    assert samples[0] == Sample("vllm:prefix_cache_queries_total", {"engine": "0", "model_name": r"a \"b\" } c"}, 100.0)
    assert values(samples, "vllm:prefix_cache_queries") == [100.0, 50.0]
    assert values(samples, "vllm:kv_cache_usage_perc") == [0.25, 0.75]
    assert values(samples, "vllm:nothing") == []
    assert values(samples, "bucket") == [math.inf]
    assert math.isnan(values(samples, "odd")[0])
    assert {sample.name for sample in samples}.isdisjoint({"broken", "no", "#"})


def test_counters_are_differences_and_gauges_peaks():
    looks = [page(5, 0, 0.2), page(6, 0, 0.6, waiting=7), [], page(7, 0, 0.6)]
    told = seen(page(10, 4, 0), looks, page(110, 29, 0))
    assert (told.prefix_queries, told.prefix_hits, told.preemptions) == (100, 25, None)
    assert (told.kv_blocks, told.block_size) == (40, 32)
    assert (told.kv_peak, told.waiting_peak) == (0.6, 7)


def test_engines_are_added_up_and_their_use_averaged():
    samples = parse(PAGE)
    told = seen([], [samples], samples)
    assert (told.kv_blocks, told.block_size, told.kv_peak) == (20, 16, 0.5)
    assert told.prefix_queries == 150


def test_a_server_without_a_page_tells_nothing(stub):
    async def load() -> float:
        return 2.0

    seconds, told = asyncio.run(watched(stub.url, load()))
    assert seconds == 2.0
    assert {getattr(told, name) for name in told.__dataclass_fields__} == {None}
    assert asyncio.run(read("http://127.0.0.1:9")) == []


def test_gauges_are_looked_at_while_the_load_runs(stub):
    usage = iter([0.1, 0.2, 0.9])
    stub.page = lambda: f"vllm:kv_cache_usage_perc {next(usage, 0.3)}\n"

    async def load() -> float:
        await asyncio.sleep(4 * EVERY_S)
        return 1.0

    _, told = asyncio.run(watched(stub.url, load()))
    assert (told.kv_peak, told.waiting_peak) == (0.9, None)
