"""MT-Video-MME: the three multiple-choice questions about each video of Video-MME as one dialogue.

Fu et al., "Video-MME: The First-Ever Comprehensive Evaluation Benchmark of Multi-modal LLMs in Video Analysis" (CVPR
2025, arXiv 2405.21075). As dialogues: MetaCompress (arXiv 2603.21701). The official release is at
https://github.com/MME-Benchmarks/Video-MME and https://huggingface.co/datasets/lmms-lab/Video-MME:
`videomme/test-00000-of-00001.parquet` with one row a question (`video_id`, `duration`, `videoID`, `question_id`,
`question`, `options`, `answer`; 2,700 rows, 900 videos), and the videos as `data/<videoID>.mp4`, unpacked. The same
rows may be a JSON list, `videomme.json`.

Scored by the letter of the option; the kind of a question is how long its video is (short, medium, long), by which the
paper reports. Subtitles are not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pinhole.data import Dialogue, Turn
from pinhole.tasks.task import LETTER, Needed, Recipe, Task, in_threes, read_json

RELEASE = "https://huggingface.co/datasets/lmms-lab/Video-MME"
OFFICIAL = (2_700, 900)
"""Questions, and the dialogues that they give."""

_TABLE = "test-00000-of-00001.parquet"
NEEDED = (
    Needed("the questions", (f"videomme/{_TABLE}", _TABLE, "videomme.json"), RELEASE),
    Needed("the videos, unpacked", ("data", "videos", "video"), RELEASE),
)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = read_json(path, RELEASE) if path.suffix == ".json" else pq.read_table(path).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} cannot be read ({error}): take it from {RELEASE}") from error
    needed = {"video_id", "question", "options", "answer"}
    for number, row in enumerate(rows, 1):
        if missing := sorted(needed - row.keys()):
            raise ValueError(f"row {number} of {path} lacks {', '.join(missing)}: take it from {RELEASE}")
    return rows


def _dialogues(recipe: Recipe) -> list[Dialogue]:
    path, videos = recipe.files
    rows = _rows(path)
    dialogues = []
    for video, number, group in in_threes(rows, lambda row: str(row["video_id"])):
        film = videos / f"{group[0].get('videoID') or video}.mp4"
        dialogues.append(Dialogue(f"{video}-{number}", (), tuple(_turn(row, recipe) for row in group), (film,)))
    if len(rows) == OFFICIAL[0] and len(dialogues) != OFFICIAL[1]:
        raise ValueError(
            f"{path} has the {len(rows):,} questions of the official release, but gives {len(dialogues)} dialogues "
            f"where that gives {OFFICIAL[1]}: it was changed, take it from {RELEASE}"
        )
    return dialogues


def _turn(row: dict[str, Any], recipe: Recipe) -> Turn:
    options, letter = list(row["options"]), str(row["answer"]).strip()
    place = ord(letter) - ord("A") if len(letter) == 1 else -1
    if not 0 <= place < len(options):
        raise ValueError(f"question {row.get('question_id')}: {letter!r} is none of the options {options}")
    question = "\n".join([row["question"], *options])
    return Turn(recipe.asked(question), letter, row.get("duration"), (options[place],), "choice")


TASK = Task(
    name="mt-video-mme",
    about="Video-MME's three questions about each video in one dialogue; letters",
    splits=("test",),
    suffix=LETTER,
    max_new_tokens=16,
    needs=lambda _: NEEDED,
    dialogues=_dialogues,
)
