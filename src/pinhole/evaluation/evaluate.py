"""Evaluation from dialogues to `results.json`: one call, which a killed process repeats to go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.decide import check_plan
from pinhole.evaluation.answers import AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.latency import times_to_first_token
from pinhole.evaluation.results import summarize, write_results
from pinhole.evaluation.runner import EvalSettings, answer_all
from pinhole.families import family_of
from pinhole.loading import fingerprint


@dataclass(frozen=True)
class Names:
    """What results call the model and the data."""

    model: str
    data: str


def evaluate(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contenders: list[Contender],
    dialogues: list[Dialogue],
    out: Path,
    names: Names,
    settings: EvalSettings | None = None,
    *,
    ttft_dialogues: int = 20,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Compare contenders on dialogues; writes `answers.jsonl` as it goes and `results.json` at the end.

    Args:
        model: the LVLM.
        processor: its own.
        contenders: what to compare.
        dialogues: held with the model's own answers as history, unless `settings` says otherwise.
        out: folder; answers that it holds already are not asked for again.
        names: for the results.
        settings: how dialogues are held.
        ttft_dialogues: how many of them to time the first token on; 0 leaves `ttft_ms` null.
        show_progress: draw progress bars.

    Returns:
        what `results.json` holds.
    """
    settings = settings or EvalSettings()
    family = family_of(model)
    for contender in contenders:
        check_plan(contender.plan, family)
    described = {"model": names.model, "weights": fingerprint(model), "data": names.data, **_loaded(model)}
    file = AnswerFile(out, {**described, **settings.described()})
    answer_all(model, processor, contenders, dialogues, file, settings, show_progress)
    timed = dialogues[:ttft_dialogues]
    ttft_ms = times_to_first_token(model, processor, contenders, timed, settings.scope) if timed else {}
    rows = summarize(contenders, dialogues, file.answered, family.shape, ttft_ms)
    return write_results(out / "results.json", names.model, names.data, rows)


def _loaded(model: PreTrainedModel) -> dict[str, Any]:
    """How the weights were loaded, as far as answers depend on it."""
    quantization = model.config.to_dict().get("quantization_config")
    return {"dtype": str(model.dtype), "quantization": quantization, "attention": model.config._attn_implementation}
