"""ConvBench: 577 conversations of three turns, one for each level: perception, reasoning, creation.

Liu et al., "ConvBench: A Multi-Turn Conversation Evaluation Benchmark with Hierarchical Ablation Capability for Large
Vision-Language Models" (arXiv 2403.20194). The official release is https://github.com/shirlyliu64/ConvBench: a workbook
`ConvBench.xlsx` (`ID`, `image_id`, `instruction-conditioned-caption`; `The_first_turn_instruction`,
`first_turn_answer` and so on for three turns, whose answers people verified; `third_turn_demands`) and a folder
`visit_bench_images`. Of its 578 rows number 131 names a picture that the release does not hold; the other 577 are the
benchmark.

A judge says which of two answers to a turn is better, the model's or the human-verified one: a win rate in %
(`pinhole.evaluation.judge`). It reads a description of the picture, and for the third turn what matters in it.
"""

from __future__ import annotations

from pathlib import Path

from pinhole.data import Dialogue, Turn
from pinhole.tasks.sheet import read_sheet
from pinhole.tasks.task import Needed, Recipe, Task

RELEASE = "https://github.com/shirlyliu64/ConvBench"
LEVELS = {"first": "perception", "second": "reasoning", "third": "creation"}
OFFICIAL_ROWS = 578
WITHOUT_PICTURE = "131"
NEEDED = (
    Needed("the conversations", ("ConvBench.xlsx",), RELEASE),
    Needed("the pictures", ("visit_bench_images",), RELEASE),
)


def _dialogues(recipe: Recipe) -> list[Dialogue]:
    path, images = recipe.files
    rows = read_sheet(path)
    _check(path, rows)
    dialogues = []
    for row in rows:
        picture = images / row["image_id"]
        if row["ID"] == WITHOUT_PICTURE and len(rows) == OFFICIAL_ROWS and not picture.is_file():
            continue
        turns = tuple(_turn(row, place, recipe) for place in LEVELS)
        dialogues.append(Dialogue(row["ID"], (picture,), turns))
    return dialogues


def _turn(row: dict[str, str], place: str, recipe: Recipe) -> Turn:
    note = row["instruction-conditioned-caption"]
    if place == "third":
        note += f"\nWhat matters in the third answer: {row['third_turn_demands']}"
    question, answer = row[f"The_{place}_turn_instruction"], row[f"{place}_turn_answer"]
    return Turn(recipe.asked(question), answer, LEVELS[place], scoring="judge", note=note)


def _check(path: Path, rows: list[dict[str, str]]) -> None:
    needed = ["ID", "image_id", "instruction-conditioned-caption", "third_turn_demands"]
    needed += [name for place in LEVELS for name in (f"The_{place}_turn_instruction", f"{place}_turn_answer")]
    for number, row in enumerate(rows, 2):
        if missing := [name for name in needed if name not in row]:
            raise ValueError(
                f"row {number} of {path} has nothing under {', '.join(missing)}: the first version of the release had "
                f"no answers, take the present one from {RELEASE}"
            )


TASK = Task(
    name="convbench",
    about="577 conversations of perception, reasoning and creation; win rate given by a judge",
    splits=("test",),
    suffix="",
    max_new_tokens=512,
    needs=lambda _: NEEDED,
    dialogues=_dialogues,
)
