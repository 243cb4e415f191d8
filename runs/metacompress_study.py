"""Studies MetaCompress on the embedded LVLM: its losses, one compressor for all rates, other data, what P keeps.

    python runs/metacompress_study.py [--parts ablation rates transfer overlap] [--out out/metacompress_study]

It draws its own dialogues, goes on where it was stopped, and writes docs/results/metacompress_study.json and
docs/metacompress.md; parts that are left out stay there as they were. With sizes of your own (--samples, --epochs,
--held-out, --fitted, --steps) nothing is published: the page goes to --out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from metacompress_page import page
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest, read_dialogues
from pinhole.evaluation.answers import read_answers
from pinhole.evaluation.contender import Contender, contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import paired_difference, save
from pinhole.families import family_of
from pinhole.loading import EMBEDDED, load
from pinhole.overlap import Decided, Fitted, compare
from pinhole.registry import MethodSpec
from pinhole.scenes.dataset import write_dialogues
from pinhole.training.error import TrainingError
from pinhole.training.loop import train
from pinhole.training.settings import TrainSettings

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "results" / "metacompress_study.json", ROOT / "docs" / "metacompress.md"
KEEP, KEEPS, TURNS = 0.1, (0.5, 0.25, 0.1, 0.05), 4
CLIP, UNCLIPPED = 1e-2, 1e9
WEIGHT = 0.02
"""Of entropy and collapse, as in the quickstart; the paper's is 1."""
TERMS = {"KL": (), "KL + entropy": ("entropy",), "KL + collapse": ("collapse",), "all": ("entropy", "collapse")}
VARIANTS = [
    ("KL", 0.0, None),
    *(
        (losses, weight, clip)
        for weight in (WEIGHT, 1.0)
        for losses, clip in (("KL + entropy", None), ("KL + collapse", None), ("KL + collapse", CLIP), ("all", CLIP))
    ),
]
"""Losses, the weight of entropy and collapse, and what the gradient's norm is clipped at."""
KINDS = {"A": ("color", "shape", "position"), "B": ("count", "digit", "exist", "relation")}
"""The question kinds of two data sets."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained and asked; the defaults are what is published.

    Attributes:
        samples: dialogues that every compressor is trained on.
        epochs: times through them.
        held_out: dialogues that are asked.
        fitted: of these, how many P is fitted to.
        steps: of each fit.
    """

    samples: int = 1600
    epochs: int = 3
    held_out: int = 300
    fitted: int = 30
    steps: int = 500


@dataclass(frozen=True)
class Study:
    """What all parts share."""

    model: PreTrainedModel
    processor: ProcessorMixin
    sizes: Sizes
    learning: list[Dialogue]
    asked: list[Dialogue]
    out: Path

    def learn(self, name: str, weights: tuple[float, float], clip: float, **other: Any) -> dict[str, Any]:
        """Train one compressor, unless it is there.

        Args:
            name: of its folder.
            weights: of entropy and collapse.
            clip: of the gradient's norm.
            other: "dialogues" to train on, "keeps" to draw from.

        Returns:
            "folder", and "terms", the means of the loss's terms over the last 20 steps.

        Raises:
            TrainingError: the training cannot go on.
        """
        dialogues = other.pop("dialogues", self.learning)
        folder, cache = self.out / "weights" / name, self.out / "teacher" / digest(dialogues)
        options = {"entropy_weight": weights[0], "collapse_weight": weights[1], **other}
        spec, settings = MethodSpec.parse(f"metacompress:keep={KEEP}"), TrainSettings(self.sizes.epochs, clip=clip)
        train(self.model, self.processor, spec, dialogues, folder, settings, options, resume=True, cache=cache)
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()][-20:]
        terms = {term: float(np.mean([step[term] for step in log])) for term in ("kl", "entropy", "collapse")}
        return {"folder": folder, "terms": terms}

    def best(self) -> Path:
        """The compressor that the quickstart's weights give; the ablation has it too."""
        return self.learn(f"all-{WEIGHT:g}", (WEIGHT, WEIGHT), CLIP)["folder"]

    def ask(
        self, name: str, specs: list[str], keeps: tuple[float, ...], dialogues: list[Dialogue] | None = None
    ) -> tuple[list[Contender], list[dict[str, Any]]]:
        """Hold the dialogues with every method; the contenders and what each scored, in their order."""
        compared, dialogues = contenders(specs, list(keeps), family_of(self.model).shape), dialogues or self.asked
        names = Names(EMBEDDED, "scenes/test")
        out = self.out / "asked" / name
        rows = evaluate(self.model, self.processor, compared, dialogues, out, names, ttft_dialogues=0)["rows"]
        fields = ("method", "keep", "average", "ci95", "delta_to_sample", "delta_ci95", "dialogues")
        return compared, [{field: row[field] for field in fields} for row in rows]


def ablation(study: Study) -> dict[str, Any]:
    """The loss with and without each of its terms."""
    rows: list[dict[str, Any]] = []
    for losses, weight, clip in VARIANTS:
        weights = (weight * ("entropy" in TERMS[losses]), weight * ("collapse" in TERMS[losses]))
        name = "-".join([losses.replace(" + ", "-"), f"{weight:g}", *([] if clip else ["unclipped"])])
        row: dict[str, Any] = {"losses": losses, "weight": weight, "clip": clip}
        try:
            rows.append(row | study.learn(name, weights, clip or UNCLIPPED))
        except TrainingError as error:
            rows.append(row | {"failed": str(error)})
    specs = [f"metacompress:{row.pop('folder')}" for row in rows if "folder" in row]
    _, [full, sample, *scores] = study.ask("ablation", ["full", "sample", *specs], (KEEP,))
    left = iter(scores)
    return {"full": full, "sample": sample, "rows": [row if "failed" in row else row | next(left) for row in rows]}


def rates(study: Study) -> dict[str, Any]:
    """One compressor that learned at four rates, beside one that learned at the paper's alone."""
    several = study.learn("rates", (WEIGHT, WEIGHT), CLIP, keeps=KEEPS)["folder"]
    folders = {f"{100 * KEEP:g} %": study.best(), ", ".join(f"{100 * keep:g}" for keep in KEEPS) + " %": several}
    specs = [f"metacompress:{folder}" for folder in folders.values()]
    compared, rows = study.ask("rates", ["full", "sample", *specs], KEEPS)
    answered = read_answers(study.out / "asked" / "rates" / "answers.jsonl")
    learned = iter(folder for folder in folders for _ in KEEPS)
    for row in rows:
        row["trained_at"] = next(learned) if row["method"] == "metacompress" else None
    differences = []
    for keep in KEEPS:
        one, all_rates = (c.key for c in compared if c.name == "metacompress" and c.keep == keep)
        points, interval = paired_difference(all_rates, one, study.asked, answered)
        differences.append({"keep": keep, "points": points, "ci95": interval})
    return {"rows": rows, "all_rates_to_one": differences}


def transfer(study: Study) -> dict[str, Any]:
    """Compressors that learned from some kinds of questions, asked others."""
    learning = {name: of_kinds(study.learning, kinds) for name, kinds in KINDS.items()}
    count = min(map(len, learning.values()))
    folders = {
        name: study.learn(f"kinds-{name}", (WEIGHT, WEIGHT), CLIP, dialogues=dialogues[:count])["folder"]
        for name, dialogues in learning.items()
    }
    folders["A and B"] = study.best()
    tables = {}
    for name, kinds in KINDS.items():
        asked, specs = of_kinds(study.asked, kinds), [f"metacompress:{folder}" for folder in folders.values()]
        compared, rows = study.ask(f"kinds-{name}", ["full", "sample", *specs], (KEEP,), asked)
        answered = read_answers(study.out / "asked" / f"kinds-{name}" / "answers.jsonl")
        key = dict(zip(folders, (contender.key for contender in compared[2:]), strict=True))
        [other] = KINDS.keys() - {name}
        points, interval = paired_difference(key[other], key[name], asked, answered)
        for row, trained_on in zip(rows, (None, None, *folders), strict=True):
            row["trained_on"] = trained_on
        tables[name] = {"kinds": kinds, "rows": rows, "other_to_own": {"points": points, "ci95": interval}}
    return {"samples": count, "asked": tables}


def overlap(study: Study) -> dict[str, Any]:
    """What fitted and learned P keep, beside what attention ranks first."""
    model, processor, names = study.model, study.processor, Names(EMBEDDED, "scenes/test")
    choosers = {
        "fitted to each dialogue": Fitted(model, processor, KEEP, steps=study.sizes.steps),
        "MetaCompress": Decided(model, f"metacompress:{study.best()}", KEEP),
        "Sample": Decided(model, "sample", KEEP),
    }
    rows = []
    for i, (name, chooser) in enumerate(choosers.items()):
        out = study.out / "overlap" / str(i)
        found = compare(model, processor, study.asked[: study.sizes.fitted], chooser, out, names)
        rows.append({"p": name, **found["summary"]})
    return {"steps": study.sizes.steps, "rows": rows}


def of_kinds(dialogues: list[Dialogue], kinds: tuple[str, ...]) -> list[Dialogue]:
    """The same dialogues with their questions of these kinds alone; those without any are left out."""
    found = [replace(d, turns=tuple(turn for turn in d.turns if turn.kind in kinds)) for d in dialogues]
    return [dialogue for dialogue in found if dialogue.turns]


PARTS = {"ablation": ablation, "rates": rates, "transfer": transfer, "overlap": overlap}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "metacompress_study")
    for name, size in vars(Sizes()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size)
    given = parser.parse_args()
    sizes = Sizes(*(getattr(given, name) for name in vars(Sizes())))
    data = {"train": (sizes.samples, TURNS), "test": (sizes.held_out, 3)}
    for split, (count, turns) in data.items():
        if not (given.out / split / "dialogues.jsonl").exists():
            write_dialogues(given.out / split, split, count, turns)
    model, processor = load(EMBEDDED)
    learning, asked = (read_dialogues(given.out / split) for split in data)
    study = Study(model, processor, sizes, learning, asked, given.out)
    results, target = (RESULTS, PAGE) if sizes == Sizes() else (given.out / "study.json", given.out / "study.md")
    found = json.loads(results.read_text()) if results.exists() else {}
    for part in given.parts:
        made_with = {"commit": commit(), "versions": versions(), "hardware": hardware(), "sizes": vars(sizes)}
        found = save(results, {**found, part: {**made_with, **PARTS[part](study)}})
        target.write_text(page(found))


if __name__ == "__main__":
    main()
