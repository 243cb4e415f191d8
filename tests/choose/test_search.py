"""A search on the embedded LVLM: what it writes, that it goes on after a kill, and what it leaves out."""

from __future__ import annotations

import json

import pytest

from pinhole.choose.bounds import Bounds
from pinhole.choose.race import looks
from pinhole.choose.search import search
from pinhole.choose.settings import SearchSettings
from pinhole.data import Dialogue, Turn, read_dialogues
from pinhole.evaluation import runner
from pinhole.evaluation.evaluate import Names
from pinhole.evaluation.runner import EvalSettings

METHODS, KEEPS = ("sample", "divprune"), (0.5, 0.05)


@pytest.fixture
def run(embedded, scenes):
    """Search with these settings; returns the results and the lines that were told."""

    def call(out, bounds, methods=METHODS, keeps=KEEPS, dialogues=None, **more):
        told = []
        searched = SearchSettings(methods, keeps, bounds, first=4, ttft_dialogues=1, **more)
        held = read_dialogues(scenes) if dialogues is None else dialogues
        names = Names("embedded", "scenes")
        results = search(
            *embedded, held, out, names, searched, EvalSettings(max_new_tokens=4), tell=told.append, show_progress=False
        )
        return results, told

    return call


def test_the_cheapest_that_holds_is_written_with_every_setting_that_was_searched(run, tmp_path):
    results, told = run(tmp_path, Bounds(max_loss=0.6))
    assert results == json.loads((tmp_path / "choose.json").read_text())
    rows = {(row["method"], row["keep"]): row for row in results["rows"]}
    assert rows.keys() == {(method, keep) for method in METHODS for keep in KEEPS}
    holding = [row for row in results["rows"] if row["state"] == "holds"]
    assert results["chosen"]["flops"] == min(row["flops"] for row in holding)
    assert all(row["loss_at_most"] <= 0.6 for row in holding)
    assert all(row["loss"] <= row["loss_at_most"] for row in results["rows"])
    assert results["chosen"]["flops"] < results["full"]["flops"]
    assert len(told) <= len(looks(12, 4))
    assert told[0].startswith("4 dialogues: of 4 setting(s)")


def test_no_setting_on_the_front_is_worse_in_both(run, tmp_path):
    rows = run(tmp_path, Bounds(max_loss=0.6))[0]["rows"]
    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row["flops"])
    assert front
    losses = [row["loss"] for row in front]
    assert losses == sorted(losses, reverse=True)
    for row in rows:
        assert row["on_front"] or any(
            other["flops"] <= row["flops"] and other["loss"] <= row["loss"] for other in front
        )


def test_a_killed_search_goes_on_without_asking_again(run, tmp_path, monkeypatch):
    whole, _ = run(tmp_path / "whole", Bounds(max_loss=0.6))
    held, real = [], runner.hold

    def stopping(model, processor, contender, batch, settings):
        if len(held) == 5:
            raise KeyboardInterrupt
        held.extend([(contender.key, dialogue.id) for dialogue in batch][:1])
        return real(model, processor, contender, batch, settings)

    monkeypatch.setattr(runner, "hold", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", Bounds(max_loss=0.6))
    again = []
    monkeypatch.setattr(
        runner, "hold", lambda *a: again.extend((a[2].key, dialogue.id) for dialogue in a[3]) or real(*a)
    )
    resumed, _ = run(tmp_path / "cut", Bounds(max_loss=0.6))
    assert not set(held) & set(again)
    assert resumed["rows"] == whole["rows"]
    assert resumed["chosen"] == whole["chosen"]
    again.clear()
    run(tmp_path / "cut", Bounds(max_loss=0.6))
    assert again == []


def test_where_nothing_is_shown_to_hold_the_nearest_is_told(run, tmp_path):
    results, _ = run(tmp_path, Bounds(max_loss=0.45), methods=("sample",), keeps=(0.05,))
    if results["chosen"] is None:
        assert results["nearest"]["method"] == "sample"
        assert results["nearest"]["loss_at_most"] > 0.45


def test_too_few_dialogues_are_refused_before_anything_runs(run, tmp_path):
    message = r"12 dialogues cannot show that one of 4 settings loses at most 1 %.*: it takes \d+"
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "out", Bounds(max_loss=0.01))
    assert not (tmp_path / "out").exists()


def test_with_a_time_alone_the_most_accurate_is_chosen_and_the_uncompressed_model_is_one(run, tmp_path):
    results, _ = run(tmp_path, Bounds(max_ttft_ms=1e9))
    assert {row["method"] for row in results["rows"]} == {"full", *METHODS}
    chosen = results["chosen"]
    assert chosen["accuracy"] == max(row["accuracy"] for row in results["rows"] if row["state"] == "open")
    assert all(row["ttft_ms"] > 0 for row in results["rows"])
    [full] = [row for row in results["rows"] if row["method"] == "full"]
    assert (full["loss"], full["loss_at_most"]) == (0.0, 0.0)
    times = (tmp_path / "times.json").read_text()
    run(tmp_path, Bounds(max_ttft_ms=1e9))
    assert (tmp_path / "times.json").read_text() == times


def test_what_is_too_slow_is_not_held(run, tmp_path, monkeypatch):
    import pinhole.choose.field as module

    def times(model, processor, contenders, *_):
        return {one.key: 10.0 if one.name == "sample" else 99.0 for one in contenders}

    monkeypatch.setattr(module, "times_to_first_token", times)
    results, _ = run(tmp_path, Bounds(max_loss=0.6, max_ttft_ms=50.0), cost="ttft")
    assert {row["method"] for row in results["rows"]} == {"sample"}
    assert [(one["method"], one["ttft_ms"]) for one in results["slow"]] == [("divprune", 99.0)] * 2
    with pytest.raises(ValueError, match=r"the fastest, sample at keep 0.5, takes 10.0 ms"):
        run(tmp_path, Bounds(max_loss=0.6, max_ttft_ms=5.0))


def test_what_cannot_be_built_or_held_is_refused_with_its_reason(run, tmp_path):
    results, _ = run(tmp_path, Bounds(max_loss=0.6), methods=("sample", "fastv:layer=9", "divprune:keep=500"))
    reasons = {one["method"]: one["reason"] for one in results["refused"]}
    assert reasons.keys() == {"fastv:layer=9", "divprune:keep=500"}
    assert "cannot keep 500 of 144" in reasons["divprune:keep=500"]
    assert {row["method"] for row in results["rows"]} == {"sample"}


def test_answers_of_a_judge_are_refused(run, tmp_path, scenes):
    first = read_dialogues(scenes)[0]
    judged = Dialogue("judged", first.images, (Turn("What is it?", "red", scoring="judge"),))
    with pytest.raises(ValueError, match="need no judge"):
        run(tmp_path, Bounds(max_loss=0.6), dialogues=[judged])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="cost is flops or ttft"):
        SearchSettings(METHODS, KEEPS, Bounds(max_loss=0.1), cost="money")
    with pytest.raises(ValueError, match="at least 1 dialogue"):
        SearchSettings(METHODS, KEEPS, Bounds(max_loss=0.1), first=0)
