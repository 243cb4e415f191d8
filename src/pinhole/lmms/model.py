"""The lmms-eval model `pinhole`: `lmms_eval --model pinhole --model_args pretrained=...,method=...,keep=0.1`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch
from lmms_eval.api.instance import Instance  # type: ignore[import-not-found]
from lmms_eval.api.model import lmms  # type: ignore[import-not-found]

from pinhole.budget import Keep, check_keep
from pinhole.devices import input_device
from pinhole.evaluation.contender import parse_specs
from pinhole.families import family_of
from pinhole.launch import Share
from pinhole.lmms.answering import Answerer
from pinhole.lmms.requests import Request
from pinhole.lmms.rounds import Round, Rounds, answer_rounds
from pinhole.loading import EMBEDDED
from pinhole.options import Checkpoint, Reading
from pinhole.videos import FRAMES


class Pinhole(lmms):
    """Any LVLM that Pinhole loads, with any method; the prompts are those of `pinhole.Chat`, pictures before words.

    Args:
        pretrained: checkpoint folder, hub name, or "embedded".
        method: as on Pinhole's command line, such as `metacompress:DIR`; one with commas stands in quotation marks.
        keep: share or count, for methods that take one and were not given another.
        dtype, device, device_map, attention, quantize, positions, video_scope, separators: Pinhole's options of these
            names.
        frames: the most that are read of a video file.
        batch_size: prompts answered at once.

    Raises:
        ValueError: a method, or an option, that cannot be used.
    """

    def __init__(
        self,
        pretrained: str = EMBEDDED,
        method: str = "full",
        keep: Keep = 0.1,
        *,
        dtype: str = "auto",
        device: str | None = None,
        device_map: str | None = None,
        attention: str | None = None,
        quantize: str | None = None,
        positions: str | None = None,
        video_scope: str = "whole",
        separators: str = "reduce",
        frames: int = FRAMES,
        batch_size: int | str = 1,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdecimal() or not int(batch_size):
            raise ValueError(f"batch_size is a number of prompts, got {batch_size!r}")
        specs, scope = parse_specs(_unquoted(method)), Reading(positions, video_scope, separators).scope()
        check_keep(keep)
        checkpoint = Checkpoint(_unquoted(pretrained), dtype, device, device_map, attention, quantize)
        model, processor = checkpoint.load()
        methods = [spec.build(family_of(model).width, keep) for spec in specs]
        self._answerer = Answerer(model, processor, methods, scope, frames, int(batch_size))
        share = Share.of_launch(model)
        self._rank, self._world_size = share.rank, share.count

    @property
    def device(self) -> torch.device:
        """Where lmms-eval puts what it gathers."""
        return input_device(self._answerer.model)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer prompts (context, generation_kwargs, doc_to_visual, doc_id, task, split), in their order."""
        asked = []
        for request in requests:
            context, settings, doc_to_visual, *place = request.args
            asked.append(Request(context, partial(self._visuals, doc_to_visual, *place), settings))
        return self._answerer.answer(asked, show_progress=self.rank == 0)

    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer prompts round by round, all that go on together; what a round asks depends on the answers so far.

        (context, generation_kwargs, doc_to_visual, doc_to_text, doc_id, task, split) give the first, and `doc_to_text`
        the others; each is a prompt of its own, as in lmms-eval's other models.
        """
        asked = []
        for request in requests:
            context, settings, doc_to_visual, doc_to_text, *place = request.args
            first = Request(context, partial(self._visuals, doc_to_visual, *place), settings)
            asked.append(Rounds(first, partial(self._next_round, doc_to_text, *place)))
        return answer_rounds(self._answerer, asked, show_progress=self.rank == 0)

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Refuse: a method that looks at the last tokens would keep other ones for every continuation.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "pinhole answers in words: tasks that compare likelihoods (output_type loglikelihood or multiple_choice) "
            "cannot be run; take their variant with output_type generate_until"
        )

    def _visuals(self, doc_to_visual: Callable[[Any], Any], doc_id: int, task: str, split: str) -> Any:
        return doc_to_visual(self.task_dict[task][split][doc_id])

    def _next_round(
        self, doc_to_text: Callable[..., Round], doc_id: int, task: str, split: str, **so_far: Any
    ) -> Round:
        return doc_to_text(self.task_dict[task][split][doc_id], **so_far)


def _unquoted(text: str) -> str:
    """Without the quotation marks that keep lmms-eval from cutting a value at its commas."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
