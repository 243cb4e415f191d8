"""`pinhole choose` as users type it, and what it writes as other commands read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pinhole.choose.betting import fewest_dialogues
from pinhole.choose.candidates import default_methods
from pinhole.choose.choice import read_choice, write_choice
from pinhole.launch import Share

SEARCH = ["--methods", "sample", "divprune", "--keep", "0.5", "0.05", "--first", "4", "--max-new-tokens", "4"]


@pytest.fixture
def printed(pinhole):
    """Run a command that ends well; returns what it printed."""

    def call(*arguments):
        code, out, err = pinhole(*arguments)
        assert code == 0, err
        return out

    return call


@pytest.fixture
def refused(pinhole):
    """Run a command that is refused; returns why."""

    def call(*arguments):
        code, _, err = pinhole(*arguments)
        assert code == 1
        return err

    return call


@pytest.fixture
def chosen(printed, scenes, tmp_path):
    out = tmp_path / "out"
    said = printed(
        "choose", "--data", scenes, "--out", out, "--max-loss", "60%", *SEARCH, "--positions", "original", "--quiet"
    )
    return out, said


def test_a_table_a_sentence_and_a_file(chosen):
    out, said = chosen
    row = json.loads((out / "choose.json").read_text())["chosen"]
    assert f"{row['method']} at keep {row['keep']} is the cheapest that holds" in said
    assert "on the Pareto front" in said
    options = read_choice(out / "choice.json")
    assert options == {"model": "embedded", "method": row["method"], "keep": row["keep"], "positions": "original"}
    evidence = json.loads((out / "choice.json").read_text())["evidence"]
    assert evidence["loss_at_most"] <= 0.6
    assert 0 < evidence["flops_of_full"] < 1


def test_eval_and_chat_take_the_file_and_what_is_typed_comes_first(chosen, printed, scenes, tmp_path):
    out, _ = chosen
    row = json.loads((out / "choose.json").read_text())["chosen"]
    config, data = ["--config", out / "choice.json"], ["--data", scenes, "--limit", 2, "--ttft-dialogues", 0, "--quiet"]
    printed("eval", *config, *data, "--out", tmp_path / "one")
    rows = json.loads((tmp_path / "one" / "results.json").read_text())["rows"]
    assert [(one["method"], one["keep"]) for one in rows] == [("full", 1.0), (row["method"], row["keep"])]
    assert json.loads((tmp_path / "one" / "evaluation.json").read_text())["positions"] == "original"
    printed("eval", *config, *data, "--out", tmp_path / "two", "--methods", "random", "--positions", "compact")
    [other] = json.loads((tmp_path / "two" / "results.json").read_text())["rows"]
    assert (other["method"], other["keep"]) == ("random", row["keep"])
    assert json.loads((tmp_path / "two" / "evaluation.json").read_text())["positions"] == "compact"
    picture = next(scenes.glob("*.png"))
    said = printed("chat", *config, "--image", picture, "--question", "What shape is it?", "--max-new-tokens", 2)
    assert f"(144 visual tokens, {round(144 * row['keep'])} kept)" in said


def test_what_is_left_out_is_told(printed, scenes, tmp_path):
    search = ["--methods", "sample", "fastv:layer=9", "--keep", "0.5", "--first", 12, "--quiet"]
    said = printed("choose", "--data", scenes, "--out", tmp_path, "--max-loss", "60%", *search)
    assert "left out: fastv:layer=9: " in said


def test_several_processes_are_refused(refused, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("pinhole.launch.Share.of_launch", lambda model: Share(0, 2))
    search = ["--data", scenes, "--out", tmp_path / "out", "--max-loss", "60%", *SEARCH, "--quiet"]
    assert "works in one process" in refused("choose", *search)


def test_json_is_all_that_is_printed(printed, scenes, tmp_path):
    out = tmp_path / "out"
    said = printed("choose", "--data", scenes, "--out", out, "--max-loss", "0.6", *SEARCH, "--json")
    assert json.loads(said) == json.loads((out / "choose.json").read_text())


def test_the_page_says_how_many_dialogues_it_takes():
    page = (Path(__file__).parents[2] / "docs" / "choose.md").read_text()
    rows = re.findall(r"^\| (\d+) % \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert len(rows) == 5
    for percent, *needed in rows:
        assert [*map(int, needed)] == [fewest_dialogues(int(percent) / 100, 0.05 / count) for count in (1, 10, 50)]


def test_nothing_holds_is_an_error_that_tells_the_nearest(refused, scenes, tmp_path):
    out = tmp_path / "out"
    search = ["--methods", "spatial", "--keep", "0.05", "--first", 4, "--quiet"]
    why = refused("choose", "--data", scenes, "--out", out, "--max-loss", "30%", *search)
    assert "no setting is shown to lose at most 30 points; the nearest is spatial at" in why
    assert not (out / "choice.json").exists()
    assert (out / "choose.json").exists()


def test_what_a_command_cannot_do_is_refused(refused, scenes, tmp_path):
    path = tmp_path / "choice.json"
    for options, message in [
        ({"method": "sample", "keeep": 0.1}, "has no options keeep"),
        ({"keep": 0.1}, 'names no "method"'),
    ]:
        write_choice(path, options, {})
        assert message in refused("chat", "--config", path, "--image", next(scenes.glob("*.png")), "--question", "?")
    path.write_text("{")
    assert "is not JSON" in refused("chat", "--config", path)
    assert "no file" in refused("chat", "--config", tmp_path / "nowhere.json")


def test_serve_takes_the_file_unless_it_says_what_a_server_cannot_do(printed, refused, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("pinhole.serving.command.command", lambda *given: started.append(given) or ["vllm"])
    path = tmp_path / "choice.json"
    write_choice(path, {"model": "some/model", "method": "divprune", "keep": 0.25}, {})
    printed("serve", "--config", path, "--print", "--port", "1")
    [(model, settings, flags)] = started
    assert (model, settings.method, settings.keep, flags) == ("some/model", "divprune", 0.25, ["--port", "1"])
    write_choice(path, {"model": "some/model", "method": "divprune", "positions": "original"}, {})
    assert "gives positions, and `serve` has no such option" in refused("serve", "--config", path, "--print")


def test_every_method_that_needs_nothing_is_searched_unless_it_is_said():
    methods = default_methods()
    assert {"sample", "tome", "divprune", "fastv"} <= set(methods)
    assert not {"full", "random", "metacompress", "oracle"} & set(methods)
