"""Evaluation by several processes: who does what, what is on disk meanwhile, and that kills leave no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from launched import TORCHRUN, two_processes
from pinhole.data import Dialogue, Turn, digest, read_dialogues
from pinhole.evaluation import runner
from pinhole.evaluation.answers import Answered, AnswerFile, read_answers
from pinhole.evaluation.contender import Contender, contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.sharing import shared
from pinhole.families import family_of
from pinhole.launch import Share

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def dialogue(name: str, question: str = "What?") -> Dialogue:
    return Dialogue(name, ("image.png",), (Turn(question, "That."),))


def answered(method: str, asked: Dialogue, answer: str = "That.") -> Answered:
    return Answered(method, asked.id, digest([asked]), [answer], [True], [[144, 14]], 9)


def lines(path: Path) -> list[list[str]]:
    return [[record["method"], record["dialogue"]] for record in map(json.loads, path.read_text().splitlines())]


class TestSharing:
    def test_every_item_goes_to_one_process_and_an_idle_one_takes_more(self, tmp_path):
        barrier, taken, is_free = threading.Barrier(3), {0: [], 1: [], 2: []}, threading.Event()

        def work(rank):
            for item in shared(range(100), tmp_path / "claims", Share(rank, 3, barrier.wait)):
                taken[rank].append(item)
                if rank == 0:
                    is_free.wait(60)  # its first item keeps it until the others have done the rest
                elif sum(map(len, taken.values())) == 100:
                    is_free.set()

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(item for items in taken.values() for item in items) == [*range(100)]
        assert len(taken[0]) <= 1
        assert not (tmp_path / "claims").exists()

    def test_the_claims_of_a_killed_run_bind_nobody(self, tmp_path):
        assert next(shared("abc", tmp_path / "claims", Share())) == "a"
        assert [*shared("abc", tmp_path / "claims", Share())] == ["a", "b", "c"]


class TestAnswerFile:
    def test_what_any_process_wrote_counts_however_many_there_are(self, tmp_path):
        one, two, three = map(dialogue, "abc")
        for rank, asked in enumerate((one, two, three)):
            AnswerFile(tmp_path, {}, rank).add([answered("m", asked)])
        file = AnswerFile(tmp_path, {})
        assert all(file.has("m", asked) for asked in (one, two, three))
        assert not file.has("n", one)
        assert file.merge(["m"], [three, one]) == {("m", d.id): answered("m", d) for d in (one, three)}
        assert lines(tmp_path / "answers.jsonl") == [["m", "c"], ["m", "a"], ["m", "b"]]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "evaluation.json"]

    def test_half_a_line_is_passed_over_and_dropped_by_the_process_that_goes_on(self, tmp_path):
        one, two = map(dialogue, "ab")
        for rank in (0, 1):
            AnswerFile(tmp_path, {}, rank).add([answered("m", one)])
            with (tmp_path / f"answers-000{rank}.jsonl").open("a") as part:
                part.write('[{"method": "m", "dialogue": "b", "ask')
        file = AnswerFile(tmp_path, {})
        assert file.has("m", one)
        assert not file.has("m", two)
        file.add([answered("m", two)])
        assert len((tmp_path / "answers-0000.jsonl").read_text().splitlines()) == 2
        assert file.merge(["m"], [one, two]).keys() == {("m", "a"), ("m", "b")}

    def test_of_a_dialogue_that_changed_each_version_counts_for_itself(self, tmp_path):
        old, new = dialogue("a"), dialogue("a", "What else?")
        AnswerFile(tmp_path, {}, 1).add([answered("m", old, "old")])
        file = AnswerFile(tmp_path, {}, 0)
        assert file.has("m", old)
        assert not file.has("m", new)
        file.add([answered("m", new, "new")])
        assert file.merge(["m"], [new])["m", "a"].answers == ["new"]
        assert AnswerFile(tmp_path, {}).merge(["m"], [old])["m", "a"].answers == ["old"]

    def test_a_merge_that_was_killed_is_done_again(self, tmp_path):
        one = dialogue("a")
        AnswerFile(tmp_path, {}).add([answered("m", one)])
        part = (tmp_path / "answers-0000.jsonl").read_text()
        AnswerFile(tmp_path, {}).merge(["m"], [one])
        whole = (tmp_path / "answers.jsonl").read_text()
        (tmp_path / "answers-0000.jsonl").write_text(part)  # as where the kill came before it was removed
        AnswerFile(tmp_path, {}).merge(["m"], [one])
        assert (tmp_path / "answers.jsonl").read_text() == whole
        assert read_answers(tmp_path / "answers.jsonl") == {("m", "a"): answered("m", one)}


def test_what_is_done_does_not_change_which_dialogues_are_a_batch(tmp_path, monkeypatch):
    dialogues, asked = [dialogue(name) for name in "abcdef"], []
    long = Dialogue("long", ("image.png",), (Turn("What?", "That."),) * 2)
    file = AnswerFile(tmp_path, {})
    file.add([answered("m", dialogues[1])])

    def hold(model, processor, contender, batch, settings):
        asked.append([one.id for one in batch])
        return [answered("m", one) for one in batch]

    monkeypatch.setattr(runner, "hold", hold)
    settings = runner.EvalSettings(batch=2)
    runner.answer_all(None, None, [Contender("m", (), None)], [*dialogues, long], file, settings, show_progress=False)
    assert asked == [["long"], ["a"], ["c", "d"], ["e", "f"]]


def test_kills_lose_nothing_repeat_nothing_and_leave_no_trace(tmp_path):
    """Up to three processes, another number at every start, all killed at random moments, twenty times."""
    command = [sys.executable, str(Path(__file__).with_name("killing.py")), str(tmp_path), "20", "0"]
    done = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["kills"] == 20
    assert told["cut"] > 0
    assert told["in_vain"] <= 20 * 3 * 4, "at most the batch that each process held"


def test_two_processes_write_what_one_does(embedded, scenes, tmp_path):
    model, processor = embedded
    dialogues, rivals = read_dialogues(scenes), contenders(["full", "sample"], [0.1], family_of(model).shape)
    names = Names("embedded", str(scenes))
    one = evaluate(model, processor, rivals, dialogues, tmp_path / "one", names, ttft_dialogues=0, show_progress=False)
    command = f"eval --data {scenes} --methods full sample --keep 0.1 --ttft-dialogues 0 --device cpu"
    arguments = [*command.split(), "--batch", "5", "--out", str(tmp_path / "two")]
    told = two_processes(TORCHRUN, arguments)
    assert [told.count(name) for name in ("wrote", "results.json", "report.html")] == [2, 1, 1]
    assert (tmp_path / "two" / "report.html").exists()
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    assert two["rows"] == one["rows"]
    for name in ("answers.jsonl", "evaluation.json"):
        assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()
