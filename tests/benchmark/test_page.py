"""The page of a benchmark, from results whose ratios are known."""

import pytest

from html_page import Page
from pinhole.benchmark.page import leading_row, write_page
from pinhole.benchmark.plot import compared_rows, ratio_plot
from pinhole.benchmark.table import tables

TIMES = ("encoder", "method", "ttft", "token", "turn", "dialogue", "dialogue_without_reuse")


def make_row(method, keep, kept, time, flops, peak=None, relative=True):
    """A row that takes `time` of the 100 ms and `flops` of the FLOPs of the uncompressed model."""
    spread = {"median": 100 * time, "q1": 90 * time, "q3": 110 * time}
    return {
        "method": method,
        "settings": {},
        "keep": keep,
        "visual_tokens": 144,
        "kept_tokens": kept,
        "flops": {"encoder": 1e6, "method": 0, "llm": 1e7 * flops, "total": 1.1e7 * flops},
        "analytic": {"flops": {"llm": 1e7 * flops}},
        "kv_bytes": 5000 * kept,
        "ms": dict.fromkeys(TIMES, spread),
        "peak_bytes": peak and {"median": 1e6 * peak},
        "to_full": {"ms": dict.fromkeys(TIMES, time), "peak_bytes": peak, "kv_bytes": kept / 144, "flops": flops}
        if relative
        else None,
        "to_sample": None,
        "speedup": {
            "measured": {"median": 1 / time, "q1": 0.8 / time, "q3": 1.25 / time},
            "allowed": 1 / flops,
            "share": flops / time,
        }
        if relative
        else None,
        "share_of_limit": None,
    }


def make_results(*rows, refused=()):
    return {
        "model": "tiny",
        "parameters": 1000,
        "dtype": "float32",
        "device": "cpu",
        "attention": "sdpa",
        "commit": "0123abc",
        "dialogue": {"turns": 3},
        "versions": {"torch": "2.9.1"},
        "hardware": {"cpu": "one"},
        "no_peak": None,
        "refused": list(refused),
        "rows": list(rows),
    }


@pytest.fixture
def results():
    return make_results(
        make_row("full", 1.0, 144, 1, 1, 1),
        make_row("sample", 0.1, 14, 0.4, 0.25, 0.5),
        make_row("dart", 0.1, 14, 0.6, 0.3, 0.8),
        make_row("metacompress", 0.1, 14, 0.5, 0.3, 0.7),
        make_row("metacompress", 0.5, 72, 0.75, 0.6, 0.9),
        make_row("limit", 0.1, 14, 0.35, 0.25, 0.45),
        refused=[{"method": "vtw", "reason": "<b>no</b>"}] * 2,
    )


def test_the_page_holds_every_table_and_needs_nothing_but_itself(results, tmp_path):
    write_page(tmp_path / "report.html", results)
    page = Page(tmp_path / "report.html")
    for title, table in tables(results).items():
        assert title in page.text
        for row in (table.header, *(row for group in table.groups for row in group)):
            assert " ".join(row) in page.text
    told = "MetaCompress, 14 of 144 visual tokens: the first token comes after 50 ms, 2.00× as fast as uncompressed"
    assert f"{told}; FLOPs allow 3.33×" in page.text
    assert "of the first-token time 50.0 %" in page.text
    assert page.text.count("vtw was not measured: <b>no</b>") == 1
    assert "b" not in page.tags
    assert "MetaCompress, 14 tokens: time 50.0 % where FLOPs allow 30.0 %, KV cache 9.7 %" in page.source
    assert all(link.startswith("#") for link in page.links)
    assert "http" not in page.source
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)


def test_bars_are_the_ratios_and_lines_what_flops_allow(results):
    pairs = compared_rows(results)
    assert [name for name, _ in pairs] == [
        "MetaCompress, 72 tokens", "limit, 14 tokens", "Sample, 14 tokens", "MetaCompress, 14 tokens",
        "DART, 14 tokens",
    ]  # fmt: skip
    time, memory = ratio_plot(pairs).axes
    assert [bar.get_width() for bar in time.patches] == [0.75, 0.35, 0.4, 0.5, 0.6]
    lines = [segment[:, 0].tolist() for lines in time.collections for segment in lines.get_segments()]
    whiskers, allowed = lines[::2], lines[1::2]
    assert whiskers[3] == pytest.approx([0.4, 0.625])
    assert allowed == [[share] * 2 for share in (0.6, 0.25, 0.25, 0.3, 0.3)]
    assert [bar.get_width() for bar in memory.patches] == [72 / 144] + [14 / 144] * 4
    peaks = [line.get_xdata()[0] for line in memory.lines if line.get_marker() == "D"]
    assert peaks == [0.9, 0.45, 0.5, 0.7, 0.8]


def test_without_the_uncompressed_model_there_are_times_and_no_ratios(tmp_path):
    results = make_results(make_row("sample", 0.1, 14, 0.4, 0.25, relative=False))
    results["no_peak"] = "no peak here"
    write_page(tmp_path / "report.html", results)
    page = Page(tmp_path / "report.html")
    assert "Sample, 14 of 144 visual tokens: the first token comes after 40 ms." in page.text
    assert "svg" in page.tags
    assert "Relative to the uncompressed model" not in page.text
    assert "no peak here" in page.text


def test_who_leads(results):
    assert leading_row(results)["method"] == "metacompress"
    rows = results["rows"]
    assert leading_row(make_results(rows[0], rows[1], rows[5]))["method"] == "sample"
    assert leading_row(make_results(rows[0]))["method"] == "full"


def test_the_uncompressed_model_alone_has_a_page(results, tmp_path):
    write_page(tmp_path / "report.html", make_results(results["rows"][0]))
    assert "Full, 144 of 144 visual tokens: the first token comes after 100 ms." in Page(tmp_path / "report.html").text
