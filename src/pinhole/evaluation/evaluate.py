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
from pinhole.evaluation.engine import Engine
from pinhole.evaluation.judge import Judge
from pinhole.evaluation.latency import times_to_first_token
from pinhole.evaluation.results import summarize, write_results
from pinhole.evaluation.runner import EvalSettings, answer_all
from pinhole.evaluation.win_rate import check_judge, judge_answers
from pinhole.families import family_of
from pinhole.launch import Share
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
    share: Share | None = None,
    judge: Judge | None = None,
    engine: Engine | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Compare contenders on dialogues; writes `answers.jsonl` as it goes and `results.json` at the end.

    Args:
        model: the LVLM; where an engine runs it, without its weights.
        processor: its own.
        contenders: what to compare.
        dialogues: held with the model's own answers as history, unless `settings` says otherwise.
        out: folder; answers that it holds already are not asked for again.
        names: for the results.
        settings: how dialogues are held.
        ttft_dialogues: how many of them to time the first token on; 0 leaves `ttft_ms` null, as an engine does.
        share: this process among those that answer together (see `Share.of_launch`); the first writes the results.
        judge: scores the answers where the dialogues ask for one; rows have their `win_rate` then.
        engine: runs the model; None is transformers, in this process.
        show_progress: draw progress bars, in the first process.

    Returns:
        what `results.json` holds; in the other processes nothing.
    """
    settings, share = settings or EvalSettings(), share or Share()
    check_judge(dialogues, judge)
    family = family_of(model)
    if engine:
        engine.check(contenders)
    for contender in contenders:
        check_plan(contender.plan, family)
    told = described(model, names, settings) | (engine.described() if engine else {})
    file = AnswerFile(out, told, share.rank)
    answer_all(model, processor, contenders, dialogues, file, settings, share, show_progress, engine)
    if share.rank > 0:
        return {}
    answered = file.merge([contender.key for contender in contenders], dialogues)
    win_rates: dict[str, dict[str, Any]] = {}
    if judge is not None:
        answered, win_rates = judge_answers(judge, contenders, dialogues, answered, show_progress)
        file.rescore(answered)
    timed = [] if engine else dialogues[:ttft_dialogues]
    how = (settings.scope, settings.frames, show_progress)
    ttft_ms = times_to_first_token(model, processor, contenders, timed, *how) if timed else {}
    rows = summarize(contenders, dialogues, answered, family.shape, ttft_ms)
    rows = [row | win_rates.get(contender.key, {}) for contender, row in zip(contenders, rows, strict=True)]
    return write_results(out / "results.json", names.model, names.data, rows)


def described(model: PreTrainedModel, names: Names, settings: EvalSettings) -> dict[str, Any]:
    """All that answers depend on beside the contender: weights, how they were loaded, how dialogues are held."""
    return {
        "engine": "transformers",
        "model": names.model,
        "weights": fingerprint(model),
        "data": names.data,
        "dtype": str(model.dtype),
        "quantization": model.config.to_dict().get("quantization_config"),
        "attention": model.config._attn_implementation,
        **settings.described(),
    }
