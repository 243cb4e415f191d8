"""MT-GQA: GQA's balanced questions as three-turn dialogues, one picture each.

GQA: Hudson and Manning, "GQA: A New Dataset for Real-World Visual Reasoning and Compositional Question Answering"
(CVPR 2019, arXiv 1902.09506). As dialogues: MetaCompress (arXiv 2603.21701), whose testdev has 4,061 of 398 images.
The official release is at https://cs.stanford.edu/people/dorarad/gqa/download.html: questions (version 1.2, a folder
`questions1.2`) and images (a folder `images`). A question file is an object from question id to a question with
`imageId`, `question`, `answer` (a word or phrase) and `types`, whose `structural` is the kind of question.

Questions are grouped by image in source order, floor(q / 3) dialogues for each image. Scored by exact match.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinhole.data import Dialogue, Turn
from pinhole.tasks.task import ONE_WORD, Needed, Recipe, Task, in_threes, read_json

RELEASE = "https://cs.stanford.edu/people/dorarad/gqa/download.html"
OFFICIAL = (12_578, 4_061, 398)
"""Questions of testdev-balanced, its dialogues, and their images."""


def _needs(split: str) -> tuple[Needed, ...]:
    name = f"{split}_balanced_questions.json"
    return (
        Needed(f"the balanced questions of {split}", (f"questions1.2/{name}", name), RELEASE),
        Needed("the pictures", ("images",), RELEASE),
    )


def _slim(entry: dict[str, Any]) -> dict[str, Any] | None:
    """What is needed of a JSON object: the training questions with their programs would fill the memory."""
    if "imageId" in entry:
        return {name: entry[name] for name in ("imageId", "question", "answer", "types") if name in entry}
    return None if "operation" in entry else entry


def _dialogues(recipe: Recipe) -> list[Dialogue]:
    path, images = recipe.files
    questions = read_json(path, RELEASE, _slim)
    try:
        turns = [(entry["imageId"], _turn(entry, recipe)) for entry in questions.values()]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a GQA question file ({type(error).__name__}: {error}): an object from question id to "
            f"imageId, question and answer; the release is at {RELEASE}"
        ) from error
    dialogues = [
        Dialogue(f"{image}-{number}", (images / f"{image}.jpg",), tuple(turn for _, turn in group))
        for image, number, group in in_threes(turns, lambda asked: asked[0])
    ]
    if recipe.split == "testdev":
        _check(path, len(questions), dialogues)
    return dialogues


def _turn(entry: dict[str, Any], recipe: Recipe) -> Turn:
    return Turn(recipe.asked(entry["question"]), entry["answer"], (entry.get("types") or {}).get("structural"))


def _check(path: Path, questions: int, dialogues: list[Dialogue]) -> None:
    found = (questions, len(dialogues), len({dialogue.images for dialogue in dialogues}))
    if questions == OFFICIAL[0] and found != OFFICIAL:
        raise ValueError(
            f"{path} has the {questions:,} questions of the official testdev-balanced, but gives {found[1]:,} dialogues"
            f" of {found[2]} images where that gives {OFFICIAL[1]:,} of {OFFICIAL[2]}: it was changed, take it from "
            f"{RELEASE}"
        )


TASK = Task(
    name="mt-gqa",
    about="GQA's balanced questions in three turns; exact match",
    splits=("testdev", "train", "val"),
    suffix=ONE_WORD,
    max_new_tokens=16,
    needs=_needs,
    dialogues=_dialogues,
)
