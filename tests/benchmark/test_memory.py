"""Clocks, and the peak of memory."""

from __future__ import annotations

import pytest
import torch

from pinhole.benchmark import memory
from pinhole.benchmark.clock import Clock, TokenTimes, gpus_of
from pinhole.benchmark.subject import Lengths, subject_of_shape

MB = 2**20


@pytest.fixture(scope="module")
def subject():
    return subject_of_shape("tiny:layers=1", Lengths(turns=1, answer=4), "float32", "cpu")


def test_the_peak_is_that_of_the_work_alone():
    if memory.peak_bytes(set(), lambda: None) is None:
        pytest.skip(memory.CANNOT)
    kept = torch.ones(64 * MB, dtype=torch.uint8)
    peak = memory.peak_bytes(set(), lambda: torch.ones(32 * MB, dtype=torch.uint8))
    assert 31 * MB < peak < 48 * MB
    less = memory.peak_bytes(set(), lambda: torch.ones(8 * MB, dtype=torch.uint8))
    assert 7 * MB < less < 16 * MB, "the higher peak before does not count"
    assert len(kept)


def test_where_peaks_cannot_be_reset_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "PROC", tmp_path / "nowhere")
    assert memory.peak_bytes(set(), lambda: None) is None


def test_every_new_token_gets_its_moment(subject):
    clock = Clock(gpus_of(subject.model))
    streamer = TokenTimes(clock)
    start = clock.now()
    subject.model.generate(
        **subject.first, max_new_tokens=4, min_new_tokens=4, do_sample=False, streamer=streamer, use_cache=True
    )
    assert len(streamer.at) == 4
    assert start < streamer.at[0]
    assert streamer.at == sorted(streamer.at)
    assert streamer.at[-1] <= clock.now()
