"""Evaluates with a stub in the model's place, and kills all its processes at random moments.

Run by test_processes.py as `python killing.py FOLDER KILLS SEED`. Prints as JSON how many kills there were, how many
left half a line and how many dialogues were asked in vain; fails where anything that was written is lost, asked again
or not as without kills.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import sys
import time
from pathlib import Path

from pinhole.data import Dialogue, Turn, digest
from pinhole.evaluation import runner
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.launch import Share

PROCESSES = multiprocessing.get_context("fork")
METHODS = ["one", "other"]
CONTENDERS = [Contender(method, (), None) for method in METHODS]
DIALOGUES = [
    Dialogue(f"d{number}", ("image.png",), (Turn("What?", "That."),) * (1 + number % 3)) for number in range(200)
]


def evaluate(out: Path, share: Share, asked: Path) -> None:
    def hold(model, processor, contender, dialogues, settings):
        with asked.open("a") as log:
            log.write(json.dumps([[contender.key, dialogue.id] for dialogue in dialogues]) + "\n")
        time.sleep(0.002)
        return [
            Answered(contender.key, d.id, digest([d]), [f"{d.id} beside {dialogues[-1].id}"], [True], [[144, 14]], 9)
            for d in dialogues
        ]

    runner.hold = hold
    file = AnswerFile(out, {"history": "own"}, share.rank)
    runner.answer_all(None, None, CONTENDERS, DIALOGUES, file, runner.EvalSettings(batch=4), share, False)
    if share.rank == 0:
        file.merge(METHODS, DIALOGUES)


def start(out: Path, count: int, asked: Path) -> list[multiprocessing.Process]:
    barrier = PROCESSES.Barrier(count)
    shares = [Share(rank, count, barrier.wait) for rank in range(count)]
    processes = [PROCESSES.Process(target=evaluate, args=(out, share, asked)) for share in shares]
    for process in processes:
        process.start()
    return processes


def pairs(paths: list[Path]) -> list[tuple[str, str]]:
    """What whole lines of answers hold."""
    found = []
    for path in paths:
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                read = json.loads(line)
                found += [(one["method"], one["dialogue"]) for one in (read if isinstance(read, list) else [read])]
    return found


def asked_in(log: Path) -> list[tuple[str, str]]:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [(method, name) for line in lines if line.endswith("\n") for method, name in json.loads(line)]


def files(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.iterdir()}


def main(folder: Path, kills: int, seed: int) -> None:
    chance, log = random.Random(seed), folder / "asked.jsonl"
    done = cut = in_vain = runs = 0
    [process] = start(folder / "whole", 1, log)
    process.join()
    undisturbed = files(folder / "whole")
    assert len(pairs([folder / "whole" / "answers.jsonl"])) == len(METHODS) * len(DIALOGUES)
    while done < kills:
        out, before, runs = folder / f"run-{runs}", set(), runs + 1
        while True:
            log.unlink(missing_ok=True)
            processes = start(out, chance.randint(1, 3), log)
            if done < kills:
                time.sleep(chance.uniform(0, 0.1))
                for process in chance.sample(processes, len(processes)):
                    process.kill()
            for process in processes:
                process.join()
            finished = all(process.exitcode == 0 for process in processes)
            done += not finished
            parts = sorted(out.glob("answers-*.jsonl"))
            if parts and chance.random() < 0.5:
                cut += 1
                with chance.choice(parts).open("a") as part:  # as a process leaves it that is killed while it writes
                    part.write('[{"method": "one", "dialogue": "d0", "asked"')
            after = pairs(sorted(out.glob("answers*.jsonl")))
            assert before <= {*after}, "what was written is lost"
            assert not before & {*asked_in(log)}, "what was written is asked again"
            in_vain += len(asked_in(log)) - len({*after} - before)
            before = {*after}
            if finished:
                break
        assert files(out) == undisturbed, "the files are not those of a run without kills"
        shutil.rmtree(out)
    print(json.dumps({"kills": done, "runs": runs, "cut": cut, "in_vain": in_vain}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
