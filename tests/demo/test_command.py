"""The command line, as far as it goes without a browser."""

import socket
import sys

import pytest

from pinhole.demo.serve import Address


def test_without_gradio_it_says_what_to_install(pinhole, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, out, err = pinhole("demo")
    assert (code, out) == (1, "")
    assert err == "error: the demo needs Gradio: pip install 'pinhole-vlm[demo]'\n"


@pytest.fixture
def with_gradio(monkeypatch):
    monkeypatch.setattr("pinhole.demo.serve.check_gradio", lambda: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keep", "64"], "--keep 64: the page has a slider for shares: give one such as 0.1"),
        (["--keep", "2.0"], "--keep 2.0: keep as a share lies in (0, 1]"),
        (["--max-upload", "20 miles"], "cannot read the size '20 miles': write bytes such as 20MB or 500kB"),
        (["--max-turns", "0"], "the limit of turns is at least 1, got 0"),
        (["--max-megapixels", "0"], "the limit of pixels is at least 1, got 0"),
        (["--port", "99999"], "a port is a number up to 65535, got 99999"),
        (["--host", "no.such.host.invalid"], "cannot listen at port 7860 of no.such.host.invalid"),
        (["--port", "0", "--methods", "sampel"], "no method 'sampel'; did you mean 'sample'?"),
        (["--port", "0", "--compressors", "./nowhere"], "no folder nowhere with compressors"),
    ],
)
def test_bad_options_get_one_message_before_anything_is_served(pinhole, with_gradio, arguments, message):
    code, _, err = pinhole("demo", *arguments, "--device", "cpu")
    assert code == 1
    assert message in err
    assert "Traceback" not in err


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen at port {port} of 127.0.0.1"):
            Address(port=port).resolved()
    assert Address(port=0).resolved().port > 0


@pytest.mark.parametrize(
    ("address", "is_private"),
    [
        (Address(), True),
        (Address("localhost"), True),
        (Address("0.0.0.0"), False),
        (Address("192.168.0.7"), False),
        (Address(share=True), False),
    ],
)
def test_who_can_reach_it(address, is_private):
    assert address.is_private == is_private
