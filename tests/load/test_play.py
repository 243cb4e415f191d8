"""Dialogues in play: order, history, how many at once, when it ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from pinhole.load.client import Answers, connected
from pinhole.load.messages import Script
from pinhole.load.play import play
from stub_server import Answer


def scripts(count, turns=1):
    return [Script(f"d{i}", ("data:,",), tuple(f"q{i}.{j}" for j in range(turns))) for i in range(count)]


def run(stub, told, concurrency=4, limit_s=20.0):
    requests = []

    async def playing():
        async with connected(stub.url, Answers(timeout_s=5)) as client:
            return await play(client, told, concurrency, limit_s, requests.append)

    return asyncio.run(playing()), requests


def question(body):
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def test_every_turn_is_asked_once_behind_the_servers_own_answers(stub):
    stub.answer = lambda body: Answer([f"answer to {question(body)}"])
    seconds, requests = run(stub, scripts(5, turns=3), concurrency=2)
    assert sorted((r.dialogue, r.turn) for r in requests) == [(f"d{i}", j) for i in range(5) for j in range(3)]
    assert sorted(map(question, stub.bodies)) == [f"q{i}.{j}" for i in range(5) for j in range(3)]
    for body in stub.bodies:
        asked = [m["content"] if isinstance(m["content"], str) else m["content"][-1]["text"] for m in body["messages"]]
        assert asked[1::2] == [f"answer to {one}" for one in asked[0:-1:2]]
        assert body["messages"][0]["content"][0] == {"type": "image_url", "image_url": {"url": "data:,"}}
    assert all(r.outcome == "answered" and r.reason is None for r in requests)
    assert all(0 <= r.start_s <= r.start_s + r.ttft_s <= r.end_s <= seconds for r in requests)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_are_open_at_once_and_no_more(stub, concurrency):
    stub.answer = lambda body: Answer(delay_s=0.03)
    run(stub, scripts(9), concurrency)
    assert stub.busiest == concurrency
    assert len(stub.bodies) == 9


def test_a_failed_turn_ends_its_dialogue_and_no_other(stub):
    stub.answer = lambda body: Answer(status=400, message="too long") if question(body) == "q1.1" else Answer()
    _, requests = run(stub, scripts(3, turns=3), concurrency=1)
    assert [(r.dialogue, r.turn, r.outcome) for r in requests] == [
        ("d0", 0, "answered"), ("d0", 1, "answered"), ("d0", 2, "answered"),
        ("d1", 0, "answered"), ("d1", 1, "failed"),
        ("d2", 0, "answered"), ("d2", 1, "answered"), ("d2", 2, "answered"),
    ]  # fmt: skip
    assert requests[4].reason == "400: too long"


def test_when_the_time_is_up_open_requests_are_cut_and_nothing_new_is_asked(stub):
    stub.answer = lambda body: Answer(delay_s=0.0 if question(body) in ("q0.0", "q1.0") else 0.6)
    begun = time.perf_counter()
    seconds, requests = run(stub, scripts(10), concurrency=2, limit_s=0.3)
    assert time.perf_counter() - begun < 2
    assert 0.3 <= seconds < 0.6
    assert [r.outcome for r in requests] == ["answered", "answered", "cut", "cut"]
    assert len(stub.bodies) == 4


def test_an_interrupt_is_no_outcome_of_its_own(stub):
    stub.answer = lambda body: Answer(delay_s=0.3)
    requests = []

    async def stopped():
        async with connected(stub.url, Answers()) as client:
            task = asyncio.create_task(play(client, scripts(3), 2, 20.0, requests.append))
            await asyncio.sleep(0.1)
            task.cancel()
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stopped())
    assert [r.outcome for r in requests] == ["cut", "cut"]
