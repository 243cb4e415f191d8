"""Time to first token of each contender, one dialogue at a time, the contenders in turn."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.encoding import encode_turn
from pinhole.evaluation.contender import Contender
from pinhole.progress import tracked
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.transcript import Transcript


def times_to_first_token(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contenders: list[Contender],
    dialogues: list[Dialogue],
    scope: Scope,
    frames: int | None = None,
    show_progress: bool = False,
) -> dict[str, float]:
    """Median milliseconds from the processor's output to the first token, by contender key.

    Encoder, the method's own work and the LLM's prefill are all in it. The contenders take turns on every dialogue, so
    that a machine that slows down slows all of them; the first dialogue warms up and does not count.
    """
    taken: dict[str, list[float]] = {contender.key: [] for contender in contenders}
    held = tracked([*dialogues[:1], *dialogues], "timing the first token", show_progress)
    for number, dialogue in enumerate(held):
        text = Transcript(processor).question(dialogue.turns[0].question, len(dialogue.images), len(dialogue.videos))
        videos = dialogue.load_videos(frames)
        inputs = encode_turn(model, processor, [text], dialogue.load_images(), videos=videos)
        for contender in contenders:
            seconds = _first_token(model, contender, inputs, scope)
            if number:
                taken[contender.key].append(1000 * seconds)
    return {key: statistics.median(values) for key, values in taken.items()}


def _first_token(model: PreTrainedModel, contender: Contender, inputs: dict[str, Any], scope: Scope) -> float:
    _synchronize(model)
    start = time.perf_counter()
    Session(model, contender.methods, **asdict(scope)).ask(inputs, max_new_tokens=1, do_sample=False)
    _synchronize(model)
    return time.perf_counter() - start


def _synchronize(model: PreTrainedModel) -> None:
    for device in {parameter.device for parameter in model.parameters()}:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
