"""Built data sets: missing files, checksums, what is refused, and an evaluation of one from end to end."""

from __future__ import annotations

import json
import shutil

import pytest
from transformers.utils import is_torchvision_available

import official
from checkpoints import opened, picture
from pinhole import built
from pinhole.built import read_built
from pinhole.chat import Chat
from pinhole.data import Dialogue, Turn, digest, read_dialogues
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.runner import EvalSettings, hold
from pinhole.families import family_of
from pinhole.methods.sample import Sample
from pinhole.tasks import TASKS, task_named
from pinhole.tasks.build import build
from pinhole.videos import load_video
from stub_judge import serving

SOURCES = {
    "mt-gqa": lambda folder: official.gqa(folder, {"a": 4, "b": 3}),
    "mt-vqa-v2": lambda folder: official.vqa(folder, {1: 3, 2: 3}),
    "convbench": official.convbench,
    "mt-video-mme": official.video_mme,
}


@pytest.mark.parametrize("name", SOURCES)
def test_two_builds_have_one_checksum_wherever_the_files_are(tmp_path, name):
    task = TASKS[name]
    told = build(task, SOURCES[name](tmp_path / "here"), tmp_path / "one")
    shutil.copytree(tmp_path / "here", tmp_path / "far" / "away" / "there")
    other = build(task, tmp_path / "far" / "away" / "there", tmp_path / "deep" / "two")
    assert (told["sha256"], told["dialogues"]) == (other["sha256"], 2)
    assert told["files"] != other["files"]
    one, two = (read_dialogues(tmp_path / folder, videos=True) for folder in ("one", "deep/two"))
    assert digest(one) == digest(two)
    assert build(task, tmp_path / "here", tmp_path / "three", suffix="Hm?")["sha256"] != told["sha256"]


def test_files_and_paths_may_move_together(tmp_path):
    build(TASKS["mt-gqa"], SOURCES["mt-gqa"](tmp_path / "a" / "gqa"), tmp_path / "a" / "out")
    (tmp_path / "a").rename(tmp_path / "b")
    assert read_dialogues(tmp_path / "b" / "out")[0].load_images()


@pytest.mark.parametrize("name", SOURCES)
def test_everything_that_is_missing_is_named_with_its_release(tmp_path, name):
    task = TASKS[name]
    needed = task.needs(task.splits[0])
    with pytest.raises(ValueError, match=f"to build {name}") as caught:
        build(task, tmp_path, tmp_path / "out")
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(needed)
    for line, entry in zip(lines, needed, strict=True):
        assert entry.places[0] in line
        assert entry.release in line
    assert not (tmp_path / "out").exists()


def test_missing_and_empty_pictures_are_counted_and_some_named(tmp_path):
    source = official.gqa(tmp_path / "gqa", {f"n{i}": 3 for i in range(9)})
    for i in range(7):
        (source / "images" / f"n{i}.jpg").unlink()
    (source / "images" / "n7.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="8 of 9 files of the pictures are missing or empty") as caught:
        build(TASKS["mt-gqa"], source, tmp_path / "out")
    assert str(caught.value).count(".jpg") == 5
    assert str(caught.value).endswith("and 3 more")


def test_what_is_built_is_found_again_and_never_overwritten(tmp_path, monkeypatch):
    source = SOURCES["mt-gqa"](tmp_path / "gqa")
    told = build(TASKS["mt-gqa"], source, tmp_path / "out")
    shutil.rmtree(source / "questions1.2")
    assert build(TASKS["mt-gqa"], source, tmp_path / "out") == told
    with pytest.raises(ValueError, match=r"another data set \(suffix was 'Answer .*', is ''\): give another"):
        build(TASKS["mt-gqa"], source, tmp_path / "out", suffix="")
    with pytest.raises(ValueError, match="task was 'mt-gqa', is 'convbench'"):
        build(TASKS["convbench"], source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has the split\(s\) testdev, train, val, got 'test'"):
        build(TASKS["mt-gqa"], source, tmp_path / "out", "test")


def test_a_build_that_was_stopped_leaves_nothing_that_reads_as_a_data_set(tmp_path, monkeypatch):
    source = SOURCES["mt-gqa"](tmp_path / "gqa")

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(built, "checksum", stop)
    with pytest.raises(KeyboardInterrupt):
        build(TASKS["mt-gqa"], source, tmp_path / "out")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no dialogues at"):
        read_dialogues(tmp_path / "out")
    assert build(TASKS["mt-gqa"], source, tmp_path / "out")["dialogues"] == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"dialogues.parquet", "dataset.json"}


def test_a_data_set_that_was_changed_is_refused(tmp_path):
    source = official.gqa(tmp_path / "gqa", {"a": 6})
    build(TASKS["mt-gqa"], source, tmp_path / "out")
    build(TASKS["mt-gqa"], source, tmp_path / "other", suffix="")
    shutil.copy(tmp_path / "other" / "dialogues.parquet", tmp_path / "out")
    with pytest.raises(ValueError, match=r"is not what dataset\.json says it is"):
        read_dialogues(tmp_path / "out")
    (tmp_path / "out" / "dialogues.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is damaged"):
        read_dialogues(tmp_path / "out")
    with pytest.raises(ValueError, match="build it with `pinhole data build`"):
        read_built(tmp_path)


def test_ones_own_dialogues_survive_the_way_to_parquet(tmp_path):
    source = tmp_path / "mine"
    official.picture(source / "pictures" / "a.png")
    turn = {"question": "What?", "answer": "a net", "kind": "x", "references": ["a net", "net"], "scoring": "vqa"}
    lines = [
        {"id": "one", "image": "pictures/a.png", "turns": [turn, {"question": "Why?", "answer": "why", "note": "n"}]},
        {"images": ["pictures/a.png"] * 2, "turns": [turn]},
    ]
    (source / "dialogues.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    build(TASKS["dialogues"], source, tmp_path / "out")
    before, after = read_dialogues(source), read_dialogues(tmp_path / "out")
    assert [(d.id, d.turns, len(d.images)) for d in after] == [(d.id, d.turns, len(d.images)) for d in before]
    assert all(dialogue.load_images() for dialogue in after)
    assert after[0].turns[1] == Turn("Why?", "why", note="n")


def test_a_digest_is_as_it_was_unless_there_is_more_to_a_turn():
    plain = Dialogue("a", ("x.png",), (Turn("What?", "net", "kind"),))
    assert digest([plain]) == "63c0a04a33c2", "answers of before would be asked again"
    others = [
        Turn("What?", "net", scoring="vqa"),
        Turn("What?", "net", references=("net",)),
        Turn("What?", "net", note=""),
    ]
    told = {digest([plain]), *(digest([Dialogue("a", ("x.png",), (turn,))]) for turn in others)}
    assert len(told | {digest([Dialogue("a", ("x.png",), plain.turns, ("film.mp4",))])}) == 5


def test_bad_turns_and_videos_are_named(tmp_path):
    turn = {"question": "What?", "answer": "net"}
    rows = [
        {"videos": [], "turns": [turn]},
        {"videos": ["none.mp4"], "turns": [turn]},
        {"images": "x", "turns": [turn]},
    ]
    rows += [
        {"videos": ["film.mp4"], "turns": [turn | more]} for more in ({"scoring": "best"}, {"references": [1]}, {})
    ]
    (tmp_path / "film.mp4").write_bytes(b"film")
    path = tmp_path / "dialogues.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="5 bad line") as caught:
        read_dialogues(path, videos=True)
    reasons = (
        'or "videos"',
        "no video file at",
        '"images" is a list',
        "one of exact, vqa, choice, judge",
        "list of texts",
    )
    for line, reason in zip(str(caught.value).splitlines()[1:], reasons, strict=True):
        assert reason in line


def test_tasks_are_found_by_name():
    assert [*TASKS] == ["mt-gqa", "mt-vqa-v2", "convbench", "mt-video-mme", "dialogues"]
    with pytest.raises(ValueError, match=r"no task is called 'mt-gpa' \(did you mean mt-gqa\?\)"):
        task_named("mt-gpa")


def test_the_commands(tmp_path, pinhole):
    _, listed, _ = pinhole("data", "list")
    assert all(name in listed for name in TASKS)
    source = SOURCES["mt-gqa"](tmp_path / "gqa")
    code, made, err = pinhole("data", "build", "mt-gqa", "--source", source, "--out", tmp_path / "out")
    assert code == 0, err
    assert "2 dialogues of mt-gqa (testdev)" in made
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["sha256"] in made


def test_an_evaluation_scores_as_the_task_says(tmp_path, embedded, monkeypatch):
    model, processor = embedded
    build(TASKS["mt-vqa-v2"], official.vqa(tmp_path / "vqa", {1: 3, 2: 3}), tmp_path / "data")
    dialogues = read_dialogues(tmp_path / "data")
    said = iter(["net", "mesh", "rope", "the netting", "net", "net"])
    monkeypatch.setattr(
        "pinhole.evaluation.runner.decode_answers", lambda model, processor, ids: [(next(said), "</s>") for _ in ids]
    )
    rivals = contenders(["full"], [0.1], family_of(model).shape)
    settings = EvalSettings(batch=1, max_new_tokens=2)
    names = Names("embedded", "vqa")
    results = evaluate(
        model, processor, rivals, dialogues, tmp_path / "out", names, settings, ttft_dialogues=0, show_progress=False
    )
    row = results["rows"][0]
    assert row["accuracy"] == pytest.approx([(1 + 0.9) / 2, (0.3 + 1) / 2, (0 + 1) / 2])
    assert row["by_kind"] == {"other": pytest.approx(row["average"])}


def test_a_judged_evaluation_from_the_command_line(tmp_path, pinhole):
    build(TASKS["convbench"], official.convbench(tmp_path / "source"), tmp_path / "data")
    arguments = ["eval", "--data", tmp_path / "data", "--out", tmp_path / "out", "--methods", "full", "--quiet"]
    arguments += ["--max-new-tokens", 2, "--ttft-dialogues", 0, "--device", "cpu"]
    with serving(lambda body, number: "Verdict: A") as stub:
        judging = ["--judge", stub.url, "--judge-model", "stub", "--judge-options", "temperature=1"]
        assert pinhole(*arguments, *judging)[0] == 0
        assert len(stub.requests) == 2 * 4 * 2
        assert stub.requests[0]["temperature"] == 1
        assert pinhole(*arguments, *judging)[0] == 0
        assert len(stub.requests) == 16
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert [line["correct"] for line in lines] == [[0.5, 0.5, 0.5]] * 2, "what compares runs reads them there"
    row = json.loads((tmp_path / "out" / "results.json").read_text())["rows"][0]
    assert row["accuracy"] == [0.5, 0.5, 0.5]
    assert row["win_rate"]["score"] == 50
    assert row["by_kind"] == {"creation": 0.5, "perception": 0.5, "reasoning": 0.5}


@pytest.mark.skipif(not is_torchvision_available(), reason="needs torchvision")
def test_dialogues_about_videos_are_held_as_chats_are():
    model, processor = opened("qwen2_vl")
    films = [[picture(i)] * 4 for i in range(2)]
    turns = (Turn("What happens?", "C", scoring="choice"), Turn("And then?", "B", scoring="choice"))
    dialogues = [Dialogue(str(i), (), turns, (load_video(film),)) for i, film in enumerate(films)]
    (rival,) = contenders(["sample"], [0.25], family_of(model).shape)
    records = hold(model, processor, rival, dialogues, EvalSettings(max_new_tokens=3))
    for dialogue, record in zip(dialogues, records, strict=True):
        chat = Chat(model, processor, Sample(keep=0.25), max_new_tokens=3)
        assert record.answers == [
            chat.ask(t.question, None, None if i else list(dialogue.videos)) for i, t in enumerate(turns)
        ]
        assert record.images == [[chat.reductions[0].n, chat.reductions[0].m]]
