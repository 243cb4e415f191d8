"""Servers in turn, rounds that are kept, and the command."""

from __future__ import annotations

import json

import pytest

from pinhole.data import Dialogue
from pinhole.load.bench import WARM_UP, Load, bench_serve
from pinhole.load.client import Answers
from pinhole.load.servers import Server
from stub_server import Answer

PAGE = 'vllm:cache_config_info{block_size="4",num_gpu_blocks="30"} 1\nvllm:kv_cache_usage_perc 0.5\n'


def pictures(stub):
    """The pictures that a server was sent, in order."""
    return [body["messages"][0]["content"][0]["image_url"]["url"] for body in stub.bodies]


def run(servers, told, out, rounds=2):
    load = Load(2, rounds, 20.0, Answers(tokens=2))
    return bench_serve(servers, told, "by hand", load, out, show_progress=False)


def test_servers_take_turns_and_are_sent_no_picture_twice(stubs, dialogues, tmp_path):
    order, made = [], {}
    for name in ("full", "tenth"):
        made[name] = stubs()
        made[name].page = lambda: PAGE
        made[name].answer = lambda body, name=name: order.append(name) or Answer()
    results = run([Server(name, stub.url) for name, stub in made.items()], dialogues(3, turns=2), tmp_path)
    once = 3 * 2
    assert order[: 2 * WARM_UP] == ["full"] * WARM_UP + ["tenth"] * WARM_UP
    assert order[2 * WARM_UP :] == [*["full"] * once, *["tenth"] * 2 * once, *["full"] * once], "second round turned"
    for stub in made.values():
        assert len(set(pictures(stub))) == WARM_UP + 2 * 3
    first, second = results["rows"]
    assert (first["name"], first["model"], first["url"]) == ("full", "stub", made["full"].url)
    assert second["requests"] == {"answered": 12, "failed": 0, "cut": 0}
    assert second["kv"]["blocks"] == 30
    assert second["to_first"]["dialogues_in_same_kv"] == 1
    assert results["load"]["answers"]["tokens"] == 2
    assert {"commit", "versions", "hardware"} <= results.keys()
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert len((tmp_path / "requests" / "tenth-1.jsonl").read_text().splitlines()) == once


def test_a_stopped_run_goes_on_with_the_round_that_was_stopped(stub, dialogues, tmp_path):
    servers, told = [Server("a", stub.url)], dialogues(4)
    run(servers, told, tmp_path / "whole", rounds=1)
    lines = (tmp_path / "whole" / "measurements.jsonl").read_text()
    stub.bodies.clear()
    (tmp_path / "whole" / "measurements.jsonl").write_text(lines + lines[:20])  # killed while it wrote the second
    (tmp_path / "whole" / "benchmark.json").write_text(
        (tmp_path / "whole" / "benchmark.json").read_text().replace('"rounds": 1', '"rounds": 2')
    )
    results = run(servers, told, tmp_path / "whole", rounds=2)
    assert len(stub.bodies) == WARM_UP + 4, "the first round is not played again"
    assert results["rows"][0]["rounds"][0]["seconds"] == json.loads(lines)["values"]["seconds"]
    assert results["rows"][0]["requests"]["answered"] == 8
    stub.bodies.clear()
    assert run(servers, told, tmp_path / "whole", rounds=2) == results
    assert stub.bodies == []
    with pytest.raises(ValueError, match="holds measurements of another benchmark"):
        run(servers, told[:2], tmp_path / "whole", rounds=2)


def test_a_server_that_cannot_answer_is_told_before_anything_is_measured(stub, dialogues, tmp_path):
    stub.answer = lambda body: Answer(status=400, message="no multimodal model")
    with pytest.raises(ValueError, match="a cannot answer dialogue d0: 400 no multimodal model"):
        run([Server("a", stub.url)], dialogues(2), tmp_path)
    assert len(stub.bodies) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "the concurrency of a load is positive, got 0"),
        ({"rounds": -1}, "the rounds of a load is positive, got -1"),
        ({"limit_s": 0.0}, "the time limit of a load is positive, got 0.0"),
        ({"answers": Answers(tokens=0)}, "the tokens of a load is positive, got 0"),
    ],
)
def test_a_load_is_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Load(**settings)


def test_the_command_prints_a_table_and_writes_it(pinhole, stubs, scenes, tmp_path):
    one, two = stubs(), stubs()
    two.answer = lambda body: Answer(status=400, message="too many tokens") if len(body["messages"]) > 1 else Answer()
    limits = ["--dialogues", 3, "--concurrency", 2, "--rounds", 1, "--tokens", 2, "--quiet"]
    servers = ["--url", f"full={one.url}", f"tenth={two.url}"]
    code, out, err = pinhole("bench-serve", *servers, "--data", scenes, "--out", tmp_path, *limits)
    assert code == 0, err
    assert "tenth: 3 failed: 400: too many tokens" in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["requests"]["answered"] for row in rows] == [9, 3]
    assert (tmp_path / "table.md").read_text().startswith("| Server | Requests/s |")


def test_the_command_refuses_other_machines_before_it_reads_anything(pinhole, tmp_path):
    arguments = ["--url", "http://example.org", "--data", tmp_path / "none", "--out", tmp_path]
    code, _, err = pinhole("bench-serve", *arguments)
    assert code == 1
    assert "give --remote" in err


def test_a_bad_picture_is_named_before_anything_is_asked(stub, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    told = [Dialogue("a", (tmp_path / "bad.png",), ())]
    with pytest.raises(ValueError, match=r"bad\.png: it is not an image"):
        run([Server("a", stub.url)], told, tmp_path / "out")
    assert stub.bodies == []
