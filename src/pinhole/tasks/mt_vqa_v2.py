"""MT-VQA-v2: questions of VQA v2 as 25,000 three-turn dialogues, one picture each.

VQA v2: Goyal et al., "Making the V in VQA Matter" (CVPR 2017, arXiv 1612.00837). As dialogues: MetaCompress (arXiv
2603.21701). The official release is at https://visualqa.org/download.html: `v2_OpenEnded_mscoco_val2014_questions.json`
(`questions`, each with `question_id`, `image_id` and `question`), `v2_mscoco_val2014_annotations.json` (`annotations`,
each with `question_id`, `answer_type`, `multiple_choice_answer` and ten `answers`) and COCO's `val2014` images, named
`COCO_val2014_` and twelve digits.

Questions are grouped by image in source order, floor(q / 3) dialogues for each image. The paper tells neither the split
nor the choice: here it is the validation part, whose answers are public, and the 25,000 dialogues whose ids have the
lowest SHA-256, in source order. Built from `train`, all dialogues are there. Scored by the accuracy over ten
annotators; in a gold history stands their most frequent answer.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pinhole.data import Dialogue, Turn
from pinhole.tasks.task import ONE_WORD, Needed, Recipe, Task, in_threes, read_json

RELEASE = "https://visualqa.org/download.html"
DIALOGUES = 25_000


def _needs(split: str) -> tuple[Needed, ...]:
    questions, answers = f"v2_OpenEnded_mscoco_{split}2014_questions.json", f"v2_mscoco_{split}2014_annotations.json"
    pictures = f"{split}2014"
    return (
        Needed(f"the questions of {split}", (questions,), RELEASE),
        Needed(f"the annotations of {split}", (answers,), RELEASE),
        Needed(
            "COCO's pictures", (pictures, f"images/{pictures}"), f"{RELEASE} (or https://cocodataset.org/#download)"
        ),
    )


def _entries(path: Path, name: str) -> list[dict[str, Any]]:
    content = read_json(path, RELEASE)
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise ValueError(f'{path} is not a file of VQA v2: it has no list "{name}"; the release is at {RELEASE}')
    return content[name]


def _dialogues(recipe: Recipe) -> list[Dialogue]:
    question_file, annotation_file, images = recipe.files
    questions = _entries(question_file, "questions")
    annotations = {entry["question_id"]: entry for entry in _entries(annotation_file, "annotations")}
    missing = [entry["question_id"] for entry in questions if entry["question_id"] not in annotations]
    if missing:
        raise ValueError(
            f"{annotation_file} lacks {len(missing)} of the {len(questions)} questions in {question_file}, such as "
            f"{missing[0]}: take both from one release, at {RELEASE}"
        )
    found = []
    for image, number, group in in_threes(questions, lambda entry: str(entry["image_id"])):
        turns = tuple(_turn(entry, annotations[entry["question_id"]], recipe) for entry in group)
        picture = images / f"COCO_{recipe.split}2014_{int(image):012d}.jpg"
        found.append(Dialogue(f"{image}-{number}", (picture,), turns))
    return found if recipe.split == "train" else _chosen(found)


def _turn(question: dict[str, Any], annotation: dict[str, Any], recipe: Recipe) -> Turn:
    try:
        answer, kind = annotation["multiple_choice_answer"], annotation["answer_type"]
        references = tuple(given["answer"] for given in annotation["answers"])
    except KeyError as error:
        raise ValueError(
            f"the annotation of question {question['question_id']} lacks {error}: it is not VQA v2's, whose release is "
            f"at {RELEASE}"
        ) from error
    return Turn(recipe.asked(question["question"]), answer, kind, references, "vqa")


def _chosen(dialogues: list[Dialogue]) -> list[Dialogue]:
    def rank(dialogue: Dialogue) -> str:
        return hashlib.sha256(dialogue.id.encode()).hexdigest()

    lowest = {dialogue.id for dialogue in sorted(dialogues, key=rank)[:DIALOGUES]}
    return [dialogue for dialogue in dialogues if dialogue.id in lowest]


TASK = Task(
    name="mt-vqa-v2",
    about="VQA v2 in 25,000 dialogues of three turns; accuracy over ten annotators",
    splits=("val", "train"),
    suffix=ONE_WORD,
    max_new_tokens=16,
    needs=_needs,
    dialogues=_dialogues,
)
