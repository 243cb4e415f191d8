"""The page of an evaluation: what is accurate at which cost, turn by turn, and where compression failed."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from html_page import Page
from pinhole.view.hardest import Asked, Hard, Said
from pinhole.view.headline import headline
from pinhole.view.plot import accuracy_plot
from pinhole.view.report import write_report
from pinhole.view.table import win_table
from pinhole.view.turns import turn_plot

HOSTILE = "<script>alert('$x$')</script>\"&|"


@pytest.fixture
def timed(results, row):
    results["rows"][2]["ttft_ms"] = 14.0
    results["rows"].append(row("dart", 0.5, 72, 0.6, ttft_ms=20.0))
    return results


def page_of(tmp_path, *told):
    write_report(tmp_path / "report.html", *told)
    return Page(tmp_path / "report.html")


def test_the_front_is_told_in_words_for_both_costs(timed, tmp_path):
    page = page_of(tmp_path, timed)
    assert "On the Pareto front: MetaCompress (14 tokens, 71.2 %)." in page.text
    front = "Sample (12 ms, 60.1 %), MetaCompress (14 ms, 71.2 %), Full (31.2 ms, 94.3 %)"
    assert f"On the Pareto front: {front}." in page.text
    assert f'aria-label="Accuracy against the time to the first token. On the Pareto front: {front}."' in page.source


def test_the_front_is_ringed_where_its_markers_stand(timed):
    axes = accuracy_plot(timed["rows"], "ttft_ms").axes[0]
    (rings,) = [line for line in axes.lines if line.get_markersize() == 14]
    assert np.allclose(rings.get_xydata(), [[12.0, 0.601], [14.0, 0.712], [31.25, 0.943]]), "not moved aside"
    assert axes.get_xlim()[0] == 0
    axes = accuracy_plot(timed["rows"]).axes[0]
    (rings,) = [line for line in axes.lines if line.get_markersize() == 14]
    ours = next(line for line in axes.lines if line.get_marker() == "s")
    shown = ours.get_transform().transform(ours.get_xydata())
    assert np.allclose(axes.transData.transform(rings.get_xydata()), shown)


def test_times_that_were_not_measured_have_no_plot(results, tmp_path):
    page = page_of(tmp_path, results)
    assert "plot-kept_tokens-" in page.source
    assert "plot-ttft_ms-" not in page.source


def test_turns_are_lines_of_the_leading_keep_in_the_colours_of_the_other_plot(timed):
    timed["rows"].insert(1, timed["rows"].pop())
    axes = turn_plot(timed["rows"], 0.1).axes[0]
    lines = {tuple(line.get_ydata()): line for line in axes.lines if len(line.get_xdata()) == 3}
    assert sorted(lines) == [tuple(timed["rows"][i]["accuracy"]) for i in (2, 3, 0)]
    ours = next(line for line in accuracy_plot(timed["rows"]).axes[0].lines if line.get_marker() == "D")
    assert lines[tuple(timed["rows"][3]["accuracy"])].get_color() == ours.get_color()
    assert [text.get_text() for text in axes.texts] == ["uncompressed", "MetaCompress", "Sample"]


def test_dialogues_of_one_turn_have_no_plot_of_turns(timed, tmp_path):
    timed["rows"] = [row | {"accuracy": [row["average"]]} for row in timed["rows"]]
    assert "turn by turn" not in page_of(tmp_path, timed).text


def test_hard_dialogues_with_pictures_and_who_was_right(results, tmp_path):
    said = [Said("Full", "left", True), Said("MetaCompress", HOSTILE, False), Said("Sample", "", False)]
    shown = Hard("scene-1", 1, [Image.new("RGB", (30, 20))], 2, [Asked("Where is it?", "left", said)])
    unseen = Hard(HOSTILE, 1, [], 1, [Asked("And?", "yes", said)])
    page = page_of(tmp_path, results, [], [shown, unseen])
    assert "Where MetaCompress fails and the uncompressed model does not" in page.text
    assert "scene-1 1 of 1 turns lost" in page.text
    assert "Where is it? Reference: left Full ✓ left MetaCompress ✗ <script>" in page.text
    assert "Sample ✗ (nothing)" in page.text
    assert "and 2 more" in page.text
    assert "Not shown: 1 picture or video" in page.text
    assert page.tags.count("img") == 1
    assert page.source.count('aria-label="wrong"') == 4
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_a_model_that_is_never_right_has_a_page(results, tmp_path):
    results["rows"] = [row | {"average": 0.0, "accuracy": [0.0] * 3, "ci95": [0.0, 0.0]} for row in results["rows"]]
    assert "of the full accuracy" not in page_of(tmp_path, results).text


def test_what_a_judge_scored_is_not_called_correct(results, tmp_path):
    told = {"judge": "a-judge", "levels": {"perception": 40.0}, "turns": 31.0, "overall": 20.0, "score": 25.5}
    results["rows"][2]["win_rate"] = told
    assert "wins 71.2 % of the judge's comparisons with the references" in headline(results)
    table = win_table(results)
    assert table.header[2:] == ["perception", "All turns", "Conversations", "Score"]
    assert table.groups[1][1][2:] == ["40.0 %", "31.0 %", "20.0 %", "25.5 %"]
    page = page_of(tmp_path, results)
    assert "What the judge preferred" in page.text
    assert "that a-judge decided for the model" in page.text
    assert accuracy_plot(results["rows"]).axes[0].get_ylabel() == "comparisons won"


def test_names_with_dollars_are_drawn_as_they_are(results):
    results["rows"][1]["method"] = "a$b$"
    figure = accuracy_plot(results["rows"])
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="svg")
    assert "a$b$ 60.1 %" in [text.get_text() for text in figure.axes[0].texts]
