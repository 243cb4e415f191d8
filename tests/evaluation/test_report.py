"""`pinhole eval` leaves a page beside its results, and no page is worth a run."""

from __future__ import annotations

import json

import pytest

from html_page import Page
from pinhole.view import report

SMALL = ["--model", "embedded", "--device", "cpu", "--limit", 6]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def test_the_page_shows_what_was_lost_and_against_what(pinhole, scenes, finished):
    arguments = ["--data", scenes, "--methods", "full", "sample", "random", "--keep", "0.02", "--ttft-dialogues", 2]
    code, out, err = pinhole("eval", "--out", finished, *arguments, *SMALL)
    assert code == 0, err
    assert f"wrote {finished / 'report.html'}" in out.replace("\n", "")
    page = Page(finished / "report.html")
    assert "Where Random fails and the uncompressed model does not" in page.text
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in page.links)
    assert "img" in page.tags
    assert "plot-ttft_ms-" in page.source
    lines = [json.loads(line) for line in (finished / "answers.jsonl").read_text().splitlines()]
    right = {(line["method"].split()[0], line["dialogue"]): line["correct"] for line in lines}
    lost = {
        name: sum(a > b for a, b in zip(right["full", name], right["random", name], strict=True)) for _, name in right
    }
    worst = sorted((name for name in lost if lost[name]), key=lambda name: -lost[name])
    assert worst, "at so few tokens Random loses something"
    assert f"{worst[0]} {lost[worst[0]]} of 3 turns lost" in page.text


def test_a_page_that_cannot_be_written_does_not_fail_the_run(pinhole, scenes, finished, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no [fonts] here")

    monkeypatch.setattr(report, "write_report", broken)
    arguments = ["--data", scenes, "--methods", "full", "sample", "random", "--keep", "0.02", "--ttft-dialogues", 0]
    code, out, err = pinhole("eval", "--out", finished, *arguments, *SMALL)
    assert code == 0, err
    assert "report.html: RuntimeError: no [fonts] here" in err.replace("\n", "")
    assert "report.html" not in out
    assert not (finished / "report.html").exists(), "it showed other results"
    assert (finished / "results.json").exists()
