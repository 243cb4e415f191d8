"""Chat completions from a server that fails, as servers do."""

from __future__ import annotations

import pytest

from pinhole.evaluation import endpoint
from pinhole.evaluation.endpoint import Endpoint
from stub_judge import serving

ASKED = [{"role": "user", "content": "Which?"}]


@pytest.fixture
def waits(monkeypatch):
    """The pauses between attempts, none of them taken."""
    taken = []
    monkeypatch.setattr(endpoint.time, "sleep", taken.append)
    monkeypatch.setattr(endpoint.random, "uniform", lambda low, high: 1.0)
    return taken


def test_a_request_says_what_the_protocol_wants():
    with serving(lambda body, number: "It is A.") as stub:
        made = Endpoint(f"{stub.url}/", "judge-1", "secret", {"temperature": 0, "max_tokens": 9})
        assert made.complete(ASKED) == "It is A."
    assert stub.requests == [{"model": "judge-1", "messages": ASKED, "temperature": 0, "max_tokens": 9}]
    assert stub.headers[0]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(made)


def test_passing_failures_are_tried_again_with_longer_and_longer_waits(waits):
    failures = [503, (429, {"Retry-After": "7"}), b"<html>", b'{"choices": []}']
    with serving(lambda body, number: failures[number] if number < 4 else "A") as stub:
        assert Endpoint(stub.url, "judge").complete(ASKED) == "A"
        assert "Authorization" not in stub.headers[0]
    assert waits == [1, 7, 4, 8]


def test_a_reply_without_words_is_empty():
    with serving(lambda body, number: None) as stub:
        assert Endpoint(stub.url, "judge").complete(ASKED) == ""


def test_a_server_that_never_answers_is_given_up(waits):
    with serving(lambda body, number: 500) as stub:
        with pytest.raises(ConnectionError, match=r"did not answer in 3 attempts, at last: 500 busy"):
            Endpoint(stub.url, "judge", attempts=3).complete(ASKED)
        assert len(stub.requests) == 3
    with pytest.raises(ConnectionError, match="did not answer in 2 attempts"):
        Endpoint(stub.url, "judge", attempts=2).complete(ASKED)
    assert waits == [1, 2, 1]


def test_a_refusal_is_not_tried_again(waits):
    with serving(lambda body, number: 401) as stub:
        with pytest.raises(ValueError, match=r"refuses the request \(401\): busy"):
            Endpoint(stub.url, "judge").complete(ASKED)
        assert len(stub.requests) == 1
    assert waits == []


def test_waits_are_a_minute_at_most(waits):
    with serving(lambda body, number: 503) as stub, pytest.raises(ConnectionError):
        Endpoint(stub.url, "judge", attempts=9).complete(ASKED)
    assert waits[-2:] == [60, 60]


def test_an_address_is_one():
    with pytest.raises(ValueError, match="starts with http:// or https://, got 'file:///x'"):
        Endpoint("file:///x", "judge")
