"""Two evaluations of the same dialogues, contender by contender: what changed, and whether it is more than chance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinhole.differences import differences
from pinhole.evaluation.answers import UNTOLD, Answered, read_answers
from pinhole.evaluation.paired import Paired, corrected, paired

MODEL = ("model", "weights", "dtype", "quantization", "attention", "engine", "engine_options")
"""What two runs of one model agree in."""
TOLD = ("data", "positions", "video", "separators")
"""What runs that are compared may differ in: where the dialogues are kept, and how methods are applied."""
MADE_WITH = ("commit", "versions", "hardware")

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Run:
    """What `pinhole eval` left in a folder.

    Attributes:
        path: of `results.json`.
        results: what it holds.
        settings: what `evaluation.json` holds.
        answers: by contender, then by dialogue.
    """

    path: Path
    results: dict[str, Any]
    settings: dict[str, Any]
    answers: dict[str, dict[str, Answered]]

    @classmethod
    def read(cls, path: Path) -> Run:
        """A run by its `results.json`, or by its folder.

        Raises:
            ValueError: files are missing, or results are of another version or of other dialogues than the answers.
        """
        path = path if path.suffix == ".json" else path / "results.json"
        needed = [path, path.parent / "evaluation.json", path.parent / "answers.jsonl"]
        if missing := [file.name for file in needed if not file.is_file()]:
            raise ValueError(f"no {' and no '.join(missing)} in {path.parent}: give what `pinhole eval --out` wrote")
        results, settings = (json.loads(file.read_text()) for file in needed[:2])
        answers: dict[str, dict[str, Answered]] = {}
        for (method, dialogue), record in read_answers(needed[2]).items():
            answers.setdefault(method, {})[dialogue] = record
        for row in results["rows"]:
            if "contender" not in row:
                raise ValueError(
                    f"{path} is from an older Pinhole: run the same `pinhole eval` again, which asks nothing"
                )
            held = answers.get(row["contender"], {})
            if len(held) != row["dialogues"]:
                raise ValueError(
                    f"{path.parent} holds answers to {len(held)} dialogues of {row['method']}, its results are of "
                    f"{row['dialogues']}: evaluate these into a folder of their own"
                )
            if not all(record.correct for record in held.values()):
                raise ValueError(f"the answers in {path.parent} have no scores yet: run pinhole eval with --judge")
        return cls(path, results, UNTOLD | settings, answers)


@dataclass(frozen=True)
class Compared:
    """One contender in two runs.

    Attributes:
        first: its row in the first run's results.
        second: its row in the second's.
        change: the second held against the first.
    """

    first: Row
    second: Row
    change: Paired


def compare(first: Run, second: Run, names: Collection[str] = (), across_models: bool = False) -> list[Compared]:
    """Every contender that both runs have, in the first's order.

    Args:
        first: the run to start from.
        second: the run whose gain over it is told.
        names: only these methods; all where there are none.
        across_models: whether the models may differ.

    Raises:
        ValueError: the runs are unlike, or have no contender in common.
    """
    check_alike(first, second, across_models)
    found = pairs(first.results["rows"], second.results["rows"])
    if names:
        if unknown := sorted(set(names) - {one["method"] for one, _ in found}):
            raise ValueError(f"not in both runs: {', '.join(unknown)}; there are {_told(found)}")
        found = [(one, other) for one, other in found if one["method"] in names]
    if not found:
        raise ValueError(
            f"no contender is in both: {_methods(first)} there, {_methods(second)} here; they need the same keep too"
        )
    changes = []
    for one, other in found:
        before, after = first.answers[one["contender"]], second.answers[other["contender"]]
        _check_same_dialogues(before, after, one["method"])
        changes.append(paired([after[name] for name in sorted(after)], [before[name] for name in sorted(after)]))
    return [Compared(one, other, change) for (one, other), change in zip(found, corrected(changes), strict=True)]


def check_alike(first: Run, second: Run, across_models: bool) -> None:
    """Whether the difference of two runs means anything.

    Raises:
        ValueError: they had other models, unless these may differ, or held or scored dialogues otherwise.
    """
    passed_over = {*TOLD, *MODEL} if across_models else {*TOLD}
    one, other = ({k: v for k, v in run.settings.items() if k not in passed_over} for run in (first, second))
    if unlike := differences(one, other):
        allowed = {*MODEL} >= {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
        hint = ": --across-models compares them all the same" if allowed else ""
        raise ValueError(f"{first.path} and {second.path} are unlike ({unlike}){hint}")


def told_differences(first: Run, second: Run) -> list[str]:
    """What else the runs differ in, a line for each kind: settings that may, and what they were made with."""
    kinds = [(run.settings, [*TOLD, *MODEL]) for run in (first, second)]
    made = [(run.results, MADE_WITH) for run in (first, second)]
    found = [differences(*({name: held.get(name) for name in names} for held, names in kind)) for kind in (kinds, made)]
    return [line for line in found if line]


def pairs(first: list[Row], second: list[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same contender: the same weights where both have them, else the same method, keep and settings."""
    by_key = {row["contender"]: row for row in second}
    same_weights = {row["contender"] for row in first} & by_key.keys()
    others = [[row for row in rows if row["contender"] not in same_weights] for rows in (first, second)]
    once = [{name for name, times in Counter(map(_named, rows)).items() if times == 1} for rows in others]
    by_name = {_named(row): row for row in others[1] if _named(row) in once[0] & once[1]}
    matches = [(row, by_key.get(row["contender"]) or by_name.get(_named(row))) for row in first]
    return [(row, match) for row, match in matches if match is not None]


def _named(row: Row) -> str:
    return json.dumps([row["method"], row["keep"], row["settings"]], sort_keys=True)


def _check_same_dialogues(before: dict[str, Answered], after: dict[str, Answered], method: str) -> None:
    asked = [{name: record.asked for name, record in held.items()} for held in (before, after)]
    if asked[0] != asked[1]:
        shared = sum(asked[0][name] == asked[1].get(name) for name in asked[0])
        raise ValueError(
            f"the runs are of unlike data: of {method}, {len(before)} dialogues were answered in the one and "
            f"{len(after)} in the other, and {shared} of these are the same"
        )


def _methods(run: Run) -> str:
    return ", ".join(dict.fromkeys(row["method"] for row in run.results["rows"]))


def _told(found: list[tuple[Row, Row]]) -> str:
    return ", ".join(dict.fromkeys(one["method"] for one, _ in found)) or "none"
