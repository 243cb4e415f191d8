"""A server's Prometheus page: read, and watched while a load runs. The names are vLLM's."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Awaitable
from dataclasses import dataclass
from http.client import HTTPException

EVERY_S = 0.25
"""Between two looks at the gauges."""
_LINE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\})?\s+(\S+)(?:\s+-?\d+)?\s*')
_LABEL = re.compile(r'([A-Za-z_]\w*)\s*=\s*"((?:\\.|[^"\\])*)"')


@dataclass(frozen=True)
class Sample:
    """One line of the page."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Watched:
    """What a server told of itself while a load ran; None for what it does not tell.

    Attributes:
        prefix_queries: prompt tokens that were looked for in the prefix cache.
        prefix_hits: those that were found.
        preemptions: requests that lost their KV blocks to others.
        kv_blocks: of the KV cache; several engines' added up.
        block_size: tokens that a block holds.
        kv_peak: largest share of the blocks in use that was seen; blocks that are only cached are not in use.
        waiting_peak: most requests that waited.
    """

    prefix_queries: float | None
    prefix_hits: float | None
    preemptions: float | None
    kv_blocks: int | None
    block_size: int | None
    kv_peak: float | None
    waiting_peak: int | None


def parse(page: str) -> list[Sample]:
    """The samples of a page in Prometheus' text format; comments and lines that are none are passed over."""
    samples = []
    for line in page.splitlines():
        if found := _LINE.fullmatch(line):
            name, labels, value = found.groups()
            try:
                samples.append(Sample(name, dict(_LABEL.findall(labels or "")), float(value)))
            except ValueError:
                continue
    return samples


def values(samples: list[Sample], name: str) -> list[float]:
    """A metric's values, one for each set of labels; a counter may be written with `_total` behind its name."""
    return [sample.value for sample in samples if sample.name in (name, f"{name}_total")]


async def read(url: str) -> list[Sample]:
    """The samples of a server's page; none where it has no such page or does not answer."""
    return await asyncio.to_thread(_read, url)


def _read(url: str) -> list[Sample]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/metrics", timeout=10) as page:
            return parse(page.read().decode("utf-8", "replace"))
    except (OSError, HTTPException):
        return []


async def watched(url: str, load: Awaitable[float]) -> tuple[float, Watched]:
    """Wait for a load, and look at the server's page before it, all along, and after it.

    Args:
        url: the server's root.
        load: gives the seconds that it took.

    Returns:
        these, and what was seen.
    """
    before = await read(url)
    looks: list[list[Sample]] = []
    looking = asyncio.create_task(_look(url, looks))
    try:
        seconds = await load
    finally:
        looking.cancel()
    return seconds, seen(before, looks, await read(url))


async def _look(url: str, looks: list[list[Sample]]) -> None:
    while True:
        looks.append(await read(url))
        await asyncio.sleep(EVERY_S)


def seen(before: list[Sample], looks: list[list[Sample]], after: list[Sample]) -> Watched:
    """Counters as the difference of two pages, gauges as the most of many."""
    waiting = _most([_sum(look, "vllm:num_requests_waiting") for look in looks])
    return Watched(
        _grown(before, after, "vllm:prefix_cache_queries"),
        _grown(before, after, "vllm:prefix_cache_hits"),
        _grown(before, after, "vllm:num_preemptions"),
        *_cache(after),
        _most([_kv_share(look) for look in looks]),
        None if waiting is None else int(waiting),
    )


def _sum(samples: list[Sample], name: str) -> float | None:
    found = values(samples, name)
    return sum(found) if found else None


def _kv_share(samples: list[Sample]) -> float | None:
    """The mean over engines, which have equally many blocks."""
    found = values(samples, "vllm:kv_cache_usage_perc")
    return sum(found) / len(found) if found else None


def _grown(before: list[Sample], after: list[Sample], name: str) -> float | None:
    start, end = _sum(before, name), _sum(after, name)
    return None if end is None else end - (start or 0.0)


def _most(found: list[float | None]) -> float | None:
    return max((value for value in found if value is not None), default=None)


def _cache(samples: list[Sample]) -> tuple[int | None, int | None]:
    """Blocks of all engines, and tokens that one block holds."""
    told = [sample.labels for sample in samples if sample.name == "vllm:cache_config_info"]
    try:
        return sum(int(labels["num_gpu_blocks"]) for labels in told) or None, int(told[0]["block_size"])
    except (IndexError, KeyError, ValueError):
        return None, None
