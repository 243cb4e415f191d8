"""A benchmark on local data, as lmms-eval's own are written. Nothing is downloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import datasets
import numpy as np
import pytest

from pinhole.loading import load
from pinhole.scenes.questions import dialogue
from pinhole.scenes.world import make_scene, render

QUESTIONS = 9

UTILS = """
def doc_to_visual(doc):
    return [doc["video"]] if "video" in doc else [doc["image"].convert("RGB")]

def doc_to_text(doc, lmms_eval_specific_kwargs=None, previous_output=None, round_idx=None, previous_round_info=None):
    words = f"<image>{doc['question']}"
    if round_idx is None:
        return words
    asked_again = f"{previous_round_info or 'again'}: {doc['question']}"
    return doc_to_visual(doc), asked_again, round_idx == 2, previous_output, "and again"

def process_results(doc, results):
    [said] = results
    said = said[-1] if isinstance(said, list) else said
    return {"right": float(said == doc["answer"])}
"""
TASK = """
task: {name}
dataset_path: {data}
dataset_kwargs:
  load_from_disk: true
test_split: test
output_type: {output}
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: answer
doc_to_choice: ["yes", "no"]
process_results: !function utils.process_results
{generation}
metric_list:
  - metric: right
    aggregation: mean
    higher_is_better: true
metadata:
  version: 0.0
"""
GENERATION = "generation_kwargs:\n  max_new_tokens: 5\n  temperature: 0\n  do_sample: false"
TASKS = {
    "scenes": ("pictures", "generate_until"),
    "scenes_rounds": ("pictures", "generate_until_multi_round"),
    "scenes_choice": ("pictures", "multiple_choice"),
    "films": ("films", "generate_until"),
}
"""The data and the kind of each task."""


@pytest.fixture(scope="session")
def embedded() -> tuple[Any, Any]:
    return load("embedded", device="cpu")


@pytest.fixture(scope="session")
def documents() -> list[dict[str, Any]]:
    """Questions about scenes, of unlike length."""
    found = []
    for index in range(40):
        for question in dialogue(make_scene("validation", index)) or ():
            picture = render(make_scene("validation", index))
            found.append({"image": picture, "question": question.text, "answer": question.answer})
    return found[:QUESTIONS]


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> list[dict[str, Any]]:
    """Questions about video files of twelve frames."""
    folder, found = tmp_path_factory.mktemp("films"), []
    for number in range(3):
        path = folder / f"{number}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=4)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            for shade in range(12):
                frame = np.full((64, 64, 3), (20 * shade, 80 * number, 0), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        found.append({"video": str(path), "question": "What happens?" * (number + 1), "answer": "it grows"})
    return found


@pytest.fixture(scope="session")
def tasks(documents, films, tmp_path_factory) -> Path:
    """The folder of the tasks that `TASKS` names."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in (("pictures", documents), ("films", films)):
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        datasets.DatasetDict({"test": datasets.Dataset.from_dict(columns)}).save_to_disk(str(folder / name))
    (folder / "utils.py").write_text(UTILS)
    for name, (data, output) in TASKS.items():
        generation = GENERATION if output.startswith("generate") else ""
        text = TASK.format(name=name, data=folder / data, output=output, generation=generation)
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs a module of Python's and returns what it printed; fails where it does."""

    def run(*arguments: object, processes: int = 1, code: int = 0) -> str:
        launched = [sys.executable, "-m"]
        if processes > 1:
            launched += ["torch.distributed.run", "--nproc-per-node", str(processes), "-m"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run(
            [*launched, *map(str, arguments)], check=False, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


@pytest.fixture
def answers():
    """The answers that lmms-eval logged in a folder, in the order of the documents."""

    def answers(folder: Path) -> list[Any]:
        [log] = folder.rglob("*_samples_*.jsonl")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        return [row["filtered_resps"] for row in sorted(rows, key=lambda row: row["doc_id"])]

    return answers
