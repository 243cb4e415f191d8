"""The main job on the embedded LVLM: train MetaCompress, compare it in dialogues, write a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, read_dialogues
from pinhole.evaluation.answers import Answered, read_answers
from pinhole.evaluation.contender import Contender, contenders
from pinhole.evaluation.evaluate import Names, evaluate
from pinhole.evaluation.results import paired_difference, save
from pinhole.families import family_of
from pinhole.loading import EMBEDDED
from pinhole.options import Checkpoint
from pinhole.registry import MethodSpec
from pinhole.scenes.dataset import write_dialogues
from pinhole.training.loop import train
from pinhole.training.settings import TrainSettings
from pinhole.view.hardest import hardest
from pinhole.view.look import look
from pinhole.view.report import Picture, write_report

KEEP = 0.1
TRAINED_ON, TRAINING_TURNS = 1600, 4
HELD_OUT = 400
SETTINGS = TrainSettings(epochs=5)
WEIGHTS = {"entropy_weight": 0.02, "collapse_weight": 0.02}
"""The paper's weights are 1: on this LVLM, in so few steps, they decide P before the answers can."""
PICTURES = 6


def run(out: Path, show_progress: bool = True) -> dict[str, Any]:
    """Make `out/{metacompress/, results.json, answers.jsonl, report.html}` and return what `results.json` holds.

    A run that was stopped goes on where it was.
    """
    learning, held_out = (
        _dialogues(out / "data" / split, split, count, turns, show_progress)
        for split, count, turns in (("train", TRAINED_ON, TRAINING_TURNS), ("test", HELD_OUT, 3))
    )
    model, processor = Checkpoint(EMBEDDED).load(show_progress)
    spec = MethodSpec.parse(f"metacompress:keep={KEEP}")
    weights = out / "metacompress"
    train(
        model,
        processor,
        spec,
        learning,
        weights,
        SETTINGS,
        WEIGHTS,
        resume=True,
        cache=out / "data" / "teacher",
        show_progress=show_progress,
    )
    names = ["full", "random", "sample", "spatial", f"metacompress:{weights}"]
    rivals = contenders(names, [KEEP], family_of(model).shape)
    results = evaluate(
        model, processor, rivals, held_out, out, Names(EMBEDDED, "scenes/test"), show_progress=show_progress
    )
    answered = read_answers(out / "answers.jsonl")
    *others, ours = rivals
    leads = {}
    for rival in others:
        points, interval = paired_difference(ours.key, rival.key, held_out, answered)
        leads[rival.name] = {"points": points, "ci95": interval}
    results = save(out / "results.json", {**results, "metacompress_leads": leads})
    pictures = _pictures(model, processor, rivals, held_out[:PICTURES], answered)
    write_report(out / "report.html", results, pictures, hardest(results, held_out, answered))
    return results


def _dialogues(folder: Path, split: str, count: int, turns: int, show_progress: bool) -> list[Dialogue]:
    if not (folder / "dialogues.jsonl").exists():
        write_dialogues(folder, split, count, turns, show_progress)
    return read_dialogues(folder)


def _pictures(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rivals: list[Contender],
    dialogues: list[Dialogue],
    answered: dict[tuple[str, str], Answered],
) -> list[Picture]:
    """What the last contender keeps of each dialogue's image, with everyone's answers."""
    pictures = []
    for dialogue in dialogues:
        [image] = dialogue.load_images()
        reduction, grid = look(model, processor, rivals[-1].plan.entry, image)
        assert grid is not None, "the embedded LVLM's tokens fill a grid"
        captions = []
        for i, turn in enumerate(dialogue.turns):
            said = [f"{rival.name}: {answered[rival.key, dialogue.id].answers[i]}" for rival in rivals]
            captions.append("\n".join([turn.question, f"reference: {turn.answer}", *said]))
        pictures.append(Picture(dialogue.id, image, reduction, grid, captions))
    return pictures
