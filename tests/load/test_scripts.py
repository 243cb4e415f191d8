"""The scripts in runs/ that soak and measure servers, against servers that are right and wrong in known ways."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from stub_server import Answer

ROOT = Path(__file__).parents[2]


def script(name: str) -> dict:
    return runpy.run_path(str(ROOT / "runs" / f"{name}.py"))


def url(body) -> str:
    return body["messages"][0]["content"][0]["image_url"]["url"]


def honest(body) -> Answer:
    """Reads the picture, and answers by its bytes."""
    try:
        content = base64.b64decode(url(body).partition(",")[2], validate=True)
        Image.open(io.BytesIO(content)).load()
    except (ValueError, OSError) as error:
        return Answer(status=400, message=f"cannot read the image: {error}")
    return Answer([hashlib.sha256(content).hexdigest()], delay_s=0.002)


@pytest.fixture
def soak(monkeypatch, tmp_path):
    """Run runs/soak.py; returns the exit code and what it wrote."""

    def run(stub, *more):
        names = script("soak")
        monkeypatch.setitem(names["_watch"].__globals__, "SAMPLE_S", 0.02)
        out = tmp_path / "soak.json"
        limits = ["--requests", 120, "--concurrency", 8, "--pictures", 6, "--bound", 1e6, "--hang-up-s", 0.01]
        arguments = ["--url", stub.url, "--pid", os.getpid(), "--quiet", "--out", out, *limits, *more]
        monkeypatch.setattr(sys, "argv", ["soak.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            names["main"]()
        return stopped.value.code, json.loads(out.read_text())

    return run


def test_a_server_without_fault_passes(soak, stub):
    stub.answer = honest
    code, found = soak(stub)
    assert (code, found["wrong"], found["first_wrong"]) == (0, 0, [])
    assert found["requests"] == 120
    assert sum(found["statuses"].values()) <= 120
    assert found["statuses"]["good: 200"] > 60
    assert found["statuses"]["hung up"] > 0
    assert {"truncated: 400", "1 x 1: 200", "20,000 wide: 200", "wrong base64: 400"} <= found["statuses"].keys()
    assert found["alone"]["not an image"][0] == 400
    assert found["different_answers"] == 6
    assert stub.busiest > 1


def test_each_fault_is_found(soak, stub):
    first = []

    def mixed(body):
        answer = honest(body)
        first.append(answer.words[0])
        return Answer([first[0]]) if answer.status == 200 and len(stub.bodies) > 40 else answer

    stub.answer = mixed
    code, found = soak(stub)
    assert code == 1
    assert any("is the answer of good 0" in line for line in found["first_wrong"])


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Answer(status=500, message="boom"), "(no answer, and no 4xx with a reason)"),
        (Answer(status=400, message=""), "(no answer, and no 4xx with a reason)"),
        (Answer(["fine"]), "(such a picture cannot be answered)"),
    ],
)
def test_broken_pictures_get_an_error_of_the_clients(soak, stub, broken, told):
    stub.answer = lambda body: broken if honest(body).status == 400 else honest(body)
    code, found = soak(stub)
    assert code == 1
    assert all(line.endswith(told) for line in found["first_wrong"])
    assert found["first_wrong"][0].startswith("alone: not an image: ")


def test_answers_that_are_all_alike_show_nothing(soak, stub):
    stub.answer = lambda body: Answer() if honest(body).status == 200 else honest(body)
    code, found = soak(stub)
    assert (code, found["wrong"]) == (1, 1)
    assert found["first_wrong"] == ["1 of 6 answers differ: mixed-up ones could not be told"]


def test_memory_that_grows_is_found(soak, stub):
    held = []
    stub.answer = lambda body: held.append(bytearray(2_000_000)) or honest(body)
    code, found = soak(stub, "--bound", 200)
    assert code == 1
    assert found["memory_mb"]["slope_per_1000"] > 200
    assert found["first_wrong"][-1].startswith("memory: the second half added ")


def test_the_slope_is_that_of_the_second_half():
    slope = script("soak")["slope"]
    assert slope([(0, 0), (100, 10**9), (500, 10**9), (800, 10**9), (1000, 10**9)]) == pytest.approx(0, abs=1e-6)
    assert slope([(n, 10**9 + 3000 * n) for n in range(0, 1001, 100)]) == pytest.approx(3)
    assert slope([(0, 1), (10, 2), (10, 3)]) is None


def test_the_checkpoint_reads_and_counts_as_it_should(tmp_path):
    script("serving_checkpoint")["write"](tmp_path, width=64, layers=1)
    model, loading = LlavaForConditionalGeneration.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    parts = [{"type": "image"}, {"type": "text", "text": "what is it ?"}]
    history = [{"role": "assistant", "content": "w1 w2"}, {"role": "user", "content": "is it round ?"}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}, *history], add_generation_prompt=True)
    read = processor(text=text, images=Image.new("RGB", (40, 30)), return_tensors="pt")
    visual = read["input_ids"][0] == model.config.image_token_id
    words = processor.tokenizer.convert_ids_to_tokens(read["input_ids"][0][~visual])
    assert int(visual.sum()) == 576
    assert " ".join(words) == "<s> USER: what is it ? ASSISTANT: w1 w2 </s> USER: is it round ? ASSISTANT:"


def test_the_goals_are_read_off_the_two_loads():
    def row(rate, fit, ratio, at_once, use):
        kv = {"blocks": 240, "block_size": 32, "dialogues_fit": fit, "streaming_peak": at_once, "peak_blocks": use}
        to_first = {"requests_per_s": rate, "dialogues_in_same_kv": ratio, "streaming_peak": at_once / 11}
        return {"kv": kv, "to_first": to_first}

    throughput = {"rows": [row(1.0, 12, 1.0, 8, 120), row(3.5, 80, 6.7, 8, 20)]}
    capacity = {"rows": [row(1.0, 12, 1.0, 11, 240), row(3.9, 60, 5.0, 55, 230)]}
    found = script("serving")["reached"](throughput, capacity)
    assert found["requests_per_s"] == {"goal": 3.0, "reached": 3.5}
    assert found["dialogues"] == {
        "goal": 5.0, "kv_tokens": 7680, "fit": [12, 80], "reached": 6.7, "blocks_in_use": [120, 20],
        "answered_at_once": [11, 55], "reached_at_once": 5.0,
    }  # fmt: skip
