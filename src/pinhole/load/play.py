"""Plays dialogues: so many at once, each turn behind the answer to the one before, until the time is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from pinhole.load.client import OK, Client
from pinhole.load.messages import Script


@dataclass(frozen=True)
class Request:
    """One turn as it was served.

    Attributes:
        dialogue: its id.
        turn: from 0.
        start_s: when it was sent, seconds since the load began.
        end_s: when its answer had ended, or it had failed.
        ttft_s: seconds from `start_s` to the first token; None where none came.
        prompt_tokens: of the whole prompt, as the server counts them.
        cached_tokens: those found in the server's prefix cache; None where it does not tell.
        output_tokens: of the answer.
        outcome: answered; failed, by the server's fault or the request's; cut, as the load's time was up.
        reason: of what failed.
    """

    dialogue: str
    turn: int
    start_s: float
    end_s: float
    ttft_s: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    outcome: Literal["answered", "failed", "cut"]
    reason: str | None


async def play(
    client: Client, scripts: Iterable[Script], concurrency: int, limit_s: float, write: Callable[[Request], None]
) -> float:
    """Play every dialogue once. Where a turn fails, the rest of its dialogue is left out.

    Args:
        client: of the server.
        scripts: the dialogues, in the order in which they begin.
        concurrency: dialogues at once; each has one request at a time.
        limit_s: seconds after which nothing new is asked and open requests are cut.
        write: called with every request as it ends.

    Returns:
        seconds that it took.
    """
    begun = time.perf_counter()
    waiting = iter(scripts)

    async def user() -> None:
        for script in waiting:
            await _one(client, script, begun, write)

    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as users:
            for _ in range(concurrency):
                users.create_task(user())
    except TimeoutError:
        pass  # the open requests are written down as cut
    return time.perf_counter() - begun


async def _one(client: Client, script: Script, begun: float, write: Callable[[Request], None]) -> None:
    answers: list[str] = []
    for turn in range(len(script.questions)):
        start = time.perf_counter() - begun
        try:
            reply = await client.ask(script.messages(answers))
        except asyncio.CancelledError:
            end = time.perf_counter() - begun
            write(Request(script.id, turn, start, end, None, None, None, None, "cut", None))
            raise
        end = time.perf_counter() - begun
        answered = reply.status == OK
        reason = None if answered else f"{reply.status}: {reply.reason}" if reply.status else reply.reason
        counts = (reply.prompt_tokens, reply.cached_tokens, reply.output_tokens)
        outcome: Literal["answered", "failed"] = "answered" if answered else "failed"
        write(Request(script.id, turn, start, end, reply.ttft_s, *counts, outcome, reason))
        if not answered:
            return
        answers.append(reply.text)
