"""Which servers are asked."""

from __future__ import annotations

import pytest

from pinhole.load.servers import Server, parse_servers


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("full=http://127.0.0.1:8000", "full", "http://127.0.0.1:8000"),
        ("tenth.v2=http://localhost:8001/v1/", "tenth.v2", "http://localhost:8001"),
        ("http://[::1]:80/v1", "1-80", "http://[::1]:80"),
        ("https://127.1.2.3", "127.1.2.3", "https://127.1.2.3"),
    ],
)
def test_a_server_has_a_name_and_a_root(text, name, url):
    assert parse_servers([text]) == [Server(name, url)]


@pytest.mark.parametrize(
    "host", ["example.org", "10.0.0.1", "localhost.example.org", "0.0.0.0", "127.0.0.1@example.org"]
)
def test_a_load_leaves_the_machine_only_where_that_was_said(host):
    with pytest.raises(ValueError, match=r"is not this machine: .* give --remote"):
        parse_servers([f"a=http://{host}:80"])
    assert parse_servers([f"a=http://{host}:80"], remote=True)[0].url == f"http://{host}:80"


@pytest.mark.parametrize("text", ["a=127.0.0.1:8000", "a b=http://127.0.0.1", "a=ftp://127.0.0.1", "a=http://", ""])
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(ValueError, match=r"cannot read the server .*: write NAME=http://127\.0\.0\.1:8000"):
        parse_servers([text])


def test_names_are_told_apart():
    with pytest.raises(ValueError, match="each with a name of its own, got a, a"):
        parse_servers(["a=http://127.0.0.1:1", "a=http://127.0.0.1:2"])
    with pytest.raises(ValueError, match="at least one server"):
        parse_servers([])
