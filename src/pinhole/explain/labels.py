"""Labels on disk: which visual tokens a model's answers rest on, question by question; no model is needed to read them.

A folder with `labels.json`, which says what the labels depend on and what made them, and Parquet files
`part-RANK-NUMBER.parquet` of every process that wrote some. One row is one question:

- `dialogue` and `turn`, counted from 0: which question of the data set.
- `question`, `answer`: its words, and the model's; `correct`: whether the answer is right.
- `sizes`: the visual tokens of each of its images.
- `relevance`: R_v (n_i,) of each image (see `pinhole.explain.rollout`); empty where no labels were wanted.
- `fingerprints`: `VisualTokens.fingerprint` of each image; empty as `relevance`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pinhole.differences import differences

DESCRIBED = "labels.json"
_PARTS = "part-*-*.parquet"
_SCHEMA = pa.schema(
    {
        "dialogue": pa.string(),
        "turn": pa.int32(),
        "question": pa.string(),
        "answer": pa.string(),
        "correct": pa.bool_(),
        "sizes": pa.list_(pa.int32()),
        "relevance": pa.list_(pa.list_(pa.float32())),
        "fingerprints": pa.list_(pa.int64()),
    }
)


@dataclass(frozen=True, eq=False)
class Label:
    """One question about images, and what its answer rests on.

    Attributes:
        dialogue: id of the dialogue that asks.
        turn: which of its questions, from 0.
        question: the words.
        answer: the model's.
        correct: whether the answer is right.
        relevance: R_v (n_i,) float32 of each image; none where there are no labels, as of a wrong answer.
        sizes: visual tokens n_i of each image.
        fingerprints: of each image, as `relevance`.
    """

    dialogue: str
    turn: int
    question: str
    answer: str
    correct: bool
    relevance: tuple[torch.Tensor, ...]
    sizes: tuple[int, ...]
    fingerprints: tuple[int, ...]


def target(r_v: torch.Tensor, masked: float = 0.5) -> torch.Tensor:
    """R_v*, what the explainability compressor (ICLR 2026, arXiv 2506.01097) is trained towards.

    Args:
        r_v: (n,) relevance, not negative.
        masked: share of the tokens, those of the lowest relevance, that become 0: floor(masked * n) of them; of tokens
            that are equally relevant the later ones.

    Returns:
        (n,) the rest as shares of their sum.

    Raises:
        ValueError: `masked` is no share in [0, 1), or the rest is 0 or not finite: no token has any relevance.
    """
    if not 0 <= masked < 1:
        raise ValueError(f"masked is a share in [0, 1), got {masked}")
    kept = r_v.argsort(descending=True, stable=True)[: len(r_v) - int(masked * len(r_v))]
    result = torch.zeros_like(r_v).index_copy(0, kept, r_v[kept])
    total = result.sum()
    if not 0 < total < torch.inf:
        raise ValueError(f"relevance that sums to {float(total)} has no shares: leave this image out")
    return result / total


class LabelStore:
    """Labels as they are written: whole files, so that a process that is killed loses those since its last one.

    Use it as a block; what is left is written where the block ends, also by an exception.

    Args:
        out: the folder; it is made.
        settings: what the labels depend on, as JSON values; a folder with labels must have the same.
        made_with: commit, versions, hardware and so on of this run; `labels.json` lists those of all runs.
        rank: the number of this process among those that write together.
        rows: labels in a file.

    Raises:
        ValueError: the folder holds labels that were made with other settings.

    Attributes:
        done: (dialogue, turn) of all labels there were at the start, of any process.
    """

    def __init__(
        self, out: Path, settings: dict[str, Any], made_with: dict[str, Any], rank: int = 0, rows: int = 64
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._rank, self._rows = out, rank, rows
        self._describe(settings, made_with)
        self.done = {(row["dialogue"], row["turn"]) for row in _rows(out, ["dialogue", "turn"])}
        mine = [int(path.stem.rpartition("-")[2]) for path in out.glob(f"part-{rank:04d}-*.parquet")]
        self._number = max(mine, default=-1) + 1
        self._waiting: list[Label] = []

    def _describe(self, settings: dict[str, Any], made_with: dict[str, Any]) -> None:
        path, runs = self._out / DESCRIBED, []
        if path.exists():
            described = json.loads(path.read_text())
            before, runs = described["settings"], described["made_with"]
            if pairs := differences(before, settings):
                raise ValueError(
                    f"{self._out} holds labels that were made with other settings ({pairs}): give another --out"
                )
        runs += [made_with] if made_with not in runs else []
        text = json.dumps({"settings": settings, "made_with": runs}, indent=2) + "\n"
        self._write(path, lambda partial: partial.write_text(text))

    def add(self, label: Label) -> None:
        """Take one label; every so many go to the disk."""
        self._waiting.append(label)
        if len(self._waiting) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Write what is left to a file of its own."""
        if not self._waiting:
            return
        rows = [
            {**vars(label), "relevance": [part.float().cpu().numpy() for part in label.relevance]}
            for label in self._waiting
        ]
        table = pa.Table.from_pylist(rows, schema=_SCHEMA)
        path = self._out / f"part-{self._rank:04d}-{self._number:06d}.parquet"
        self._write(path, lambda partial: pq.write_table(table, partial))
        self._number += 1
        self._waiting = []

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        """A file whole or not at all."""
        partial = path.with_name(f"{path.name}.{self._rank}.part")
        write(partial)
        partial.replace(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()


def read_settings(path: str | Path) -> dict[str, Any]:
    """What the labels in a folder depend on: the model, its weights, the data, how they were made.

    Raises:
        ValueError: there are no labels.
    """
    described = Path(path) / DESCRIBED
    if not described.is_file():
        raise ValueError(f"no labels at {path}: give a folder that `pinhole label` wrote")
    return json.loads(described.read_text())["settings"]


def read_labels(path: str | Path) -> list[Label]:
    """All labels in a folder, ordered by dialogue and turn, whatever processes wrote them.

    Raises:
        ValueError: there are no labels.
    """
    read_settings(path)
    labels = {}
    for row in _rows(Path(path), _SCHEMA.names):
        relevance = tuple(torch.tensor(part) for part in row["relevance"])
        lists = {name: tuple(row[name]) for name in ("sizes", "fingerprints")}
        labels[row["dialogue"], row["turn"]] = Label(**{**row, **lists, "relevance": relevance})
    return [labels[key] for key in sorted(labels)]


def tally(path: str | Path) -> tuple[int, int]:
    """How many questions a folder has answers to, and how many of these are right."""
    correct = [row["correct"] for row in _rows(Path(path), ["correct"])]
    return len(correct), sum(correct)


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """These columns of all rows; relevance as arrays."""
    for part in sorted(path.glob(_PARTS)):
        table = pq.read_table(part, columns=columns, schema=_SCHEMA)
        plain = [name for name in columns if name != "relevance"]
        rows = table.select(plain).to_pylist()
        if "relevance" in columns:
            for row, images in zip(rows, table["relevance"], strict=True):
                row["relevance"] = [image.values.to_numpy() for image in images]
        yield from rows
