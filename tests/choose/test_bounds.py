"""What a user may write as a bound."""

from __future__ import annotations

import pytest

from pinhole.choose.bounds import Bounds, parse_loss, parse_ms


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.01", 0.01), (" 2.5 % ", 0.025)])
def test_losses(text, share):
    assert parse_loss(text) == pytest.approx(share)


@pytest.mark.parametrize(("text", "ms"), [("150ms", 150), ("150", 150), ("0.15s", 150), (".5 s", 500)])
def test_times(text, ms):
    assert parse_ms(text) == pytest.approx(ms)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parse_loss("little"), "--max-loss little: give a share such as 0.01"),
        (lambda: parse_ms("-3ms"), "--max-ttft -3ms: give milliseconds such as 150ms"),
        (lambda: parse_ms("1 minute"), "--max-ttft 1 minute"),
        (Bounds, "nothing is asked of a setting"),
        (lambda: Bounds(max_loss=1.0), r"lies between 0 and 1 \(100 %\), got 1.0"),
        (lambda: Bounds(max_loss=0.0), "lies between 0 and 1"),
        (lambda: Bounds(max_ttft_ms=0.0), "above 0, got 0.0 ms"),
        (lambda: Bounds(max_loss=0.1, confidence=1.0), "confidence lies between 0 and 1"),
    ],
)
def test_others_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
