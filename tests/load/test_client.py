"""One request: what a server sends, and what is made of it."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time

import pytest

from pinhole.load.client import Answers, connected
from stub_server import Answer

PATIENT = Answers(timeout_s=5)
QUESTION = [{"role": "user", "content": "what is it?"}]


def ask(url, answers=PATIENT):
    async def one():
        async with connected(url, answers) as client:
            return await client.ask(QUESTION)

    return asyncio.run(one())


def test_an_answer_is_streamed_timed_and_counted(stub):
    stub.answer = lambda body: Answer(["one ", "two ", "three"], delay_s=0.05)
    reply = ask(stub.url)
    assert (reply.status, reply.reason, reply.text) == (200, None, "one two three")
    assert (reply.prompt_tokens, reply.cached_tokens, reply.output_tokens) == (3, 1, 3)
    assert 0.05 <= reply.ttft_s <= reply.seconds
    [body] = stub.bodies
    assert (body["model"], body["messages"], body["max_tokens"], body["temperature"]) == ("stub", QUESTION, 16, 0)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert body["ignore_eos"] is True


def test_an_answer_may_end_where_the_model_ends_it(stub):
    ask(stub.url, Answers(tokens=3, fixed_length=False))
    assert "ignore_eos" not in stub.bodies[0]
    assert stub.bodies[0]["max_tokens"] == 3


def test_an_answer_without_text_has_its_first_token_at_its_end(stub):
    stub.answer = lambda body: Answer([])
    reply = ask(stub.url)
    assert (reply.status, reply.text) == (200, "")
    assert reply.ttft_s is not None


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_an_error_is_told_and_never_tried_again(stub, status):
    stub.answer = lambda body: Answer(status=status, message="cannot\nread the image")
    reply = ask(stub.url)
    assert (reply.status, reply.reason) == (status, "cannot read the image")
    assert (reply.ttft_s, reply.output_tokens) == (None, None)
    assert len(stub.bodies) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "the stream ended before the answer did"),
        (b'data: {"error": {"message": "out of memory", "code": 500}}\n\n', "out of memory"),
        (b"data: {half\n\n", "the stream cannot be read"),
    ],
)
def test_an_answer_that_breaks_off_is_none(stub, body, reason):
    stub.answer = lambda request: Answer(["one ", "two"], stop_after=2, body=body)
    reply = ask(stub.url)
    assert (reply.status, reply.text) == (0, "one ")
    assert reply.reason.startswith(reason)


def test_a_request_is_given_up_after_its_time(stub):
    stub.answer = lambda body: Answer(delay_s=0.5)
    begun = time.perf_counter()
    reply = ask(stub.url, Answers(timeout_s=0.1))
    assert (reply.status, reply.reason) == (0, "no whole answer within 0.1 s")
    assert time.perf_counter() - begun < 0.5


def test_no_server_is_one_message(stub):
    with pytest.raises(ValueError, match=r"no OpenAI-compatible server answers at http://127\.0\.0\.1:9: "):
        ask("http://127.0.0.1:9")
    stub.models = []
    with pytest.raises(ValueError, match="offers no model"):
        ask(stub.url)


def test_without_the_package_there_is_one_message(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "pinhole.load.client")
    with pytest.raises(ImportError, match=r"pip install 'pinhole-vlm\[load\]'"):
        importlib.import_module("pinhole.load.client")
