"""`pinhole bench`: what a user types and gets."""

from __future__ import annotations

import json

import pytest

from html_page import Page

SMALL = ["--turns", 2, "--tokens", 2, "--later", 4, "--text", 8, "--repeats", 1, "--device", "cpu", "--quiet"]
SMALL += ["--dtype", "float32"]


def test_a_shape_is_measured_and_written_down(pinhole, tmp_path):
    methods = ["--methods", "full", "sample", "metacompress", "fastv:layer=1", "dart", "--keep", "0.1", "0.5"]
    code, out, err = pinhole("bench", "--model", "tiny:layers=2", "--out", tmp_path, *methods, *SMALL)
    assert code == 0, err
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(row["method"], row["keep"]) for row in results["rows"]] == [
        ("full", 1.0), ("sample", 0.1), ("sample", 0.5), ("metacompress", 0.1), ("metacompress", 0.5),
        ("fastv", 0.1), ("fastv", 0.5), ("limit", 0.1), ("limit", 0.5),
    ]  # fmt: skip
    assert (results["dtype"], results["attention"]) == ("float32", "sdpa")
    page = (tmp_path / "tables.md").read_text()
    assert page.count("## ") == 3
    assert "dart was not measured: dart drops tokens in front of layers 2" in page
    assert "MetaCompress" in out
    assert "First token" in page
    seen = Page(tmp_path / "report.html")
    assert "Relative to the uncompressed model" in seen.text
    assert "Up to the first token, ms" in seen.text
    assert "wrote" not in out, "--quiet leaves the result alone"


def test_a_checkpoint_is_measured_on_a_picture_of_noise(pinhole, tmp_path):
    methods = ["--methods", "full", "sample"]
    code, _, err = pinhole("bench", "--model", "embedded", "--out", tmp_path, *methods, *SMALL)
    assert code == 0, err
    results = json.loads((tmp_path / "results.json").read_text())
    full, sample, _ = results["rows"]
    assert (full["visual_tokens"], sample["kept_tokens"]) == (144, 14)
    assert full["text_tokens"] > 8
    assert sample["flops"]["total"] < full["flops"]["total"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llava-1.5-7:layers=2", "--methods", "full"], "no architecture 'llava-1.5-7'; did you mean"),
        (["--model", "tiny", "--methods", "ful"], "no method 'ful'; did you mean 'full'"),
        (["--model", "tiny", "--methods", "full", "--keep", "2.5"], "--keep 2.5: keep as a share lies in (0, 1]"),
        (["--model", "tiny", "--methods", "full", "--match", "mean"], "match is keep or average, got 'mean'"),
        (["--model", "tiny", "--methods", "full", "--repeats", "0"], "repeats is at least 1, got 0"),
        (["--model", "tiny", "--methods", "full", "--turns", "0"], "a dialogue has at least 1 turn"),
        (["--model", "tiny", "--methods", "dart:layer=9"], "none of the methods could be measured: dart"),
        (["--model", "./nothing", "--methods", "full"], "no folder 'nothing'"),
    ],
)
def test_bad_input_gets_one_message(pinhole, tmp_path, arguments, message):
    code, _, err = pinhole("bench", "--out", tmp_path / "out", "--quiet", *arguments)
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
