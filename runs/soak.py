"""Soaks a running server: many requests at once, broken pictures and broken connections among them.

    python runs/soak.py --url http://127.0.0.1:8000 --pid PID [--requests 2000] [--concurrency 32] --out out/soak.json

Every kind of request is first asked alone. Then all are asked at once, in an order by chance, and each must get what it
got alone, word for word: an answer, or an error of the client's (4xx) with a reason. Some connections are closed while
they wait. At the end the server must be alive and its memory flat. The exit code is 1 where one of these fails.

--pid is the process that was started as the server; the memory of all processes that it started counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.progress import Progress

from pinhole.commands.output import console
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.load.client import OK, Answers, Client, Reply, connected
from pinhole.load.faults import Case, broken_cases, fault, good_cases
from pinhole.load.servers import parse_servers

BROKEN, HUNG_UP = 0.2, 0.1
"""Shares of requests with a broken picture, and of those whose connection is closed."""
SAMPLE_S = 2.0
"""Between two looks at the server's memory."""
DIFFERENT = 8
"""Answers that must differ at least, among those asked alone: otherwise a mixed-up one could not be told."""
LISTED = 20
"""Findings that are written out."""


@dataclass
class Findings:
    """What went wrong, what was counted, and the server's memory: (requests done, bytes)."""

    wrong: list[str]
    statuses: Counter[str]
    memory: list[tuple[int, int]]
    done: int = 0


def resident(pid: int) -> int:
    """Bytes in memory of a process and all that it started."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def slope(memory: list[tuple[int, int]]) -> float | None:
    """MB that the second half of the requests added for each 1,000 of them, by a straight line; None for too few."""
    half = memory[-1][0] / 2 if memory else 0
    points = [point for point in memory if point[0] >= half]
    if len({done for done, _ in points}) < 3:
        return None
    done, held = np.array(points, float).T
    return float(np.polyfit(done, held, 1)[0] * 1000 / 1e6)


async def soak(client: Client, cases: list[Case], given: argparse.Namespace) -> tuple[Findings, dict[str, Reply]]:
    """Ask every case alone, then all at once."""
    found = Findings([], Counter(), [])
    alone = {case.script.id: await client.ask(case.messages) for case in cases}
    for case in cases:
        if wrong := fault(case, alone[case.script.id], alone[case.script.id], {}):
            found.wrong.append(f"alone: {wrong}")
    others = {alone[case.script.id].text: case.script.id for case in cases if case.kind == "good"}
    good = [case for case in cases if case.kind == "good"]
    broken = [case for case in cases if case.kind != "good"]
    rng = random.Random(given.seed)
    waiting = iter(range(given.requests))

    async def user(bar: Progress, task: Any) -> None:
        for _ in waiting:
            lot = rng.random()
            case = rng.choice(broken if lot < BROKEN else good)
            if BROKEN <= lot < BROKEN + HUNG_UP:
                found.statuses["hung up"] += await _hang_up(client, case, rng.uniform(0, given.hang_up_s))
            else:
                reply = await client.ask(case.messages)
                found.statuses[f"{case.kind}: {reply.status}"] += 1
                if wrong := fault(case, alone[case.script.id], reply, others):
                    found.wrong.append(wrong)
            found.done += 1
            bar.advance(task)

    watching = asyncio.create_task(_watch(given.pid, found))
    with Progress(disable=given.quiet) as bar:
        task = bar.add_task("soaking", total=given.requests)
        async with asyncio.TaskGroup() as users:
            for _ in range(given.concurrency):
                users.create_task(user(bar, task))
    watching.cancel()
    return found, alone


async def _hang_up(client: Client, case: Case, after_s: float) -> bool:
    """Close the connection while the answer is awaited; whether it was still open then."""
    try:
        await asyncio.wait_for(client.ask(case.messages), after_s)
    except TimeoutError:
        return True
    return False


async def _watch(pid: int, found: Findings) -> None:
    """Note the memory for as long as there is such a process."""
    while psutil.pid_exists(pid):
        found.memory.append((found.done, resident(pid)))
        await asyncio.sleep(SAMPLE_S)


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """All of it, and what is left at the end."""
    [server] = parse_servers([given.url], given.remote)
    cases = [*good_cases(given.pictures, given.seed), *broken_cases(given.seed)]
    begun = time.perf_counter()
    async with connected(server.url, Answers(given.tokens, timeout_s=given.timeout)) as client:
        found, alone = await soak(client, cases, given)
        last = await client.ask(cases[0].messages)
        if last.status != OK or last.text != alone[cases[0].script.id].text:
            found.wrong.append(
                f"at the end a request that is asked alone gets {last.status} {last.reason or last.text!r}"
            )
        model = client.model
    growth = slope(found.memory)
    if growth is None or growth > given.bound:
        found.wrong.append(f"memory: the second half added {growth} MB for 1,000 requests, allowed are {given.bound}")
    answers = [alone[case.script.id].text for case in cases if case.kind == "good"]
    if len(set(answers)) < min(DIFFERENT, len(answers)):
        found.wrong.append(f"{len(set(answers))} of {len(answers)} answers differ: mixed-up ones could not be told")
    return {
        "model": model,
        "requests": found.done,
        "seconds": time.perf_counter() - begun,
        "settings": {name: value for name, value in vars(given).items() if name not in ("out", "pid", "quiet", "url")},
        "alone": {case.script.id: [alone[case.script.id].status, alone[case.script.id].reason] for case in cases},
        "different_answers": len(set(answers)),
        "statuses": dict(sorted(found.statuses.items())),
        "wrong": len(found.wrong),
        "first_wrong": found.wrong[:LISTED],
        "memory_mb": {"points": [[n, held / 1e6] for n, held in found.memory], "slope_per_1000": growth},
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=64, help="good ones, each asked alone first")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds")
    parser.add_argument("--hang-up-s", type=float, default=1.0, help="connections are closed within so many seconds")
    parser.add_argument("--bound", type=float, default=100.0, help="MB that 1,000 requests may add in the second half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remote", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/serving/soak.json"))
    given = parser.parse_args()
    results = asyncio.run(run(given))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, results)
    for line in results["first_wrong"]:
        console.print(line, markup=False, highlight=False)
    grown = results["memory_mb"]["slope_per_1000"]
    console.print(f"{results['requests']} requests, {results['wrong']} wrong, memory {grown} MB for 1,000; {given.out}")
    raise SystemExit(1 if results["wrong"] else 0)


if __name__ == "__main__":
    main()
