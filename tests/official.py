"""Small files in the layouts of the official releases that benchmarks are built from."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LEVELS = ("first", "second", "third")


def picture(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (shade % 256, 0, 0)).save(path)


def gqa_questions(counts: dict[str, int]) -> dict[str, dict]:
    """Questions of several images in turn, as a GQA question file has them."""
    entries, left = {}, dict(counts)
    while any(left.values()):
        for image in [image for image, count in left.items() if count]:
            number = counts[image] - left[image]
            left[image] -= 1
            entries[f"{image}{number:03d}"] = {
                "imageId": image,
                "question": f"Question {number} of {image}?",
                "answer": ("yes", "no", "red")[number % 3],
                "fullAnswer": "Yes, it is.",
                "isBalanced": True,
                "types": {"structural": ("verify", "query")[number % 2], "semantic": "attr", "detailed": "x"},
                "semantic": [{"operation": "select", "dependencies": [], "argument": "dog (1)"}],
                "semanticStr": "select: dog (1)",
                "annotations": {"question": {"3": "1"}, "answer": {}, "fullAnswer": {}},
            }
    return entries


def gqa(folder: Path, counts: dict[str, int], split: str = "testdev") -> Path:
    path = folder / "questions1.2" / f"{split}_balanced_questions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(gqa_questions(counts)))
    for shade, image in enumerate(counts):
        picture(folder / "images" / f"{image}.jpg", 10 * shade)
    return folder


def vqa(folder: Path, counts: dict[int, int], split: str = "val") -> Path:
    questions, annotations = [], []
    for image, count in counts.items():
        for number in range(count):
            key = 1000 * image + number
            questions.append({"image_id": image, "question": f"What is {number}?", "question_id": key})
            said = ["net"] * 6 + ["netting"] * 3 + ["mesh"]
            annotations.append(
                {
                    "question_type": "what is",
                    "multiple_choice_answer": "net",
                    "answers": [
                        {"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(said, 1)
                    ],
                    "image_id": image,
                    "answer_type": "other",
                    "question_id": key,
                }
            )
        picture(folder / f"{split}2014" / f"COCO_{split}2014_{image:012d}.jpg", image)
    (folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json").write_text(
        json.dumps({"info": {}, "task_type": "Open-Ended", "questions": questions})
    )
    (folder / f"v2_mscoco_{split}2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    return folder


def convbench_row(number: int) -> dict[str, str]:
    row = {"ID": str(number), "instruction_category": "cars", "image_id": f"{number}.png"}
    row["instruction-conditioned-caption"] = f"A car & a man, number {number}."
    for level in LEVELS:
        row[f"The_{level}_turn_instruction"] = f"The {level} question about {number}?"
        row[f"{level.title()}_turn_instruction_category"] = level
        row[f"{level}_turn_answer"] = f"The {level} verified answer to {number}."
    row["third_turn_demands"] = "It rhymes."
    return row


def workbook(path: Path, rows: list[dict[str, str]]) -> None:
    """An Excel workbook whose texts are shared strings, as the release's are; identifiers are numbers."""
    names = list(rows[0])
    strings = [*names, *dict.fromkeys(text for row in rows for name, text in row.items() if name != "ID")]
    places = {text: place for place, text in enumerate(strings)}

    def cell(row: int, column: int, text: str) -> str:
        where = f'r="{chr(65 + column)}{row}"'
        if names[column] == "ID" and row > 1:
            return f"<c {where}><v>{text}</v></c>"
        return f'<c {where} t="s"><v>{places[text]}</v></c>'

    lines = [dict(zip(names, names, strict=True)), *rows]
    cells = [
        "".join(cell(number, names.index(name), text) for name, text in line.items())
        for number, line in enumerate(lines, 1)
    ]
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = "".join(f'<row r="{number}">{line}</row>' for number, line in enumerate(cells, 1)) + '<row r="900"/>'
    half = [(escape(text[: len(text) // 2]), escape(text[len(text) // 2 :])) for text in strings]
    shared = "".join(f"<si><r><t>{a}</t></r><r><t>{b}</t></r><rPh><t>aside</t></rPh></si>" for a, b in half)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<worksheet {space}><sheetData>{sheet}</sheetData></worksheet>")
        archive.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")


def convbench(folder: Path, count: int = 2) -> Path:
    workbook(folder / "ConvBench.xlsx", [convbench_row(number) for number in range(1, count + 1)])
    for number in range(1, count + 1):
        picture(folder / "visit_bench_images" / f"{number}.png", number)
    return folder


def video_mme_rows(videos: int) -> list[dict]:
    return [
        {
            "video_id": f"{video:03d}",
            "duration": ("short", "medium", "long")[video % 3],
            "domain": "Knowledge",
            "sub_category": "Astronomy",
            "url": f"https://www.youtube.com/watch?v=v{video}",
            "videoID": f"v{video}",
            "question_id": f"{video:03d}-{number}",
            "task_type": "Counting",
            "question": f"How many are there in part {number}?",
            "options": ["A. None.", "B. One.", "C. Two.", "D. Three."],
            "answer": "ABCD"[number],
        }
        for video in range(1, videos + 1)
        for number in (1, 2, 3)
    ]


def video_mme(folder: Path, videos: int = 2) -> Path:
    (folder / "videomme").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(video_mme_rows(videos)), folder / "videomme" / "test-00000-of-00001.parquet")
    (folder / "data").mkdir(exist_ok=True)
    for video in range(1, videos + 1):
        (folder / "data" / f"v{video}.mp4").write_bytes(b"film")
    return folder
