"""Answers many prompts in batches, each picture and video encoded and reduced once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from pinhole.encoding import decode_answers, encode_turn
from pinhole.images import ImageSource, load_image
from pinhole.lmms.requests import Request, generate_options, sorted_visuals, stop_strings
from pinhole.plan import Method
from pinhole.progress import bars
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.transcript import Transcript
from pinhole.videos import VideoSource, load_video


@dataclass(frozen=True, eq=False)
class Answerer:
    """A model with a method, as it answers prompts that have nothing to do with each other.

    Attributes:
        model: the LVLM.
        processor: its own.
        methods: what reduces pictures and videos.
        scope: how it is applied.
        frames: the most that are read of a video file.
        batch: prompts answered at once.
    """

    model: PreTrainedModel
    processor: ProcessorMixin
    methods: Sequence[Method]
    scope: Scope
    frames: int
    batch: int

    def answer(self, requests: list[Request], show_progress: bool = False) -> list[str]:
        """The answers, in the order of the requests.

        Those with equal settings are answered together, the longest first; of one batch those with as many pictures
        and as many videos.
        """
        answers = [""] * len(requests)
        with bars(show_progress) as progress:
            bar = progress.add_task("answering", total=len(requests))
            for numbers in batches(requests, self.batch):
                seen = {number: sorted_visuals(requests[number].visuals()) for number in numbers}
                kinds = {number: (len(pictures), len(videos)) for number, (pictures, videos) in seen.items()}
                for _, group in itertools.groupby(sorted(numbers, key=lambda number: kinds[number]), kinds.get):
                    alike = [*group]
                    words = [requests[number].words for number in alike]
                    said = self._together(words, [seen[number] for number in alike], requests[alike[0]].settings)
                    for number, answer in zip(alike, said, strict=True):
                        answers[number] = answer
                progress.advance(bar, len(numbers))
        return answers

    def _together(
        self, words: list[str], seen: list[tuple[list[ImageSource], list[VideoSource]]], settings: Any
    ) -> list[str]:
        texts = [
            Transcript(self.processor).question(text, len(pictures), len(videos))
            for text, (pictures, videos) in zip(words, seen, strict=True)
        ]
        pictures = [load_image(picture) for shown, _ in seen for picture in shown]
        videos = [load_video(video, self.frames) for _, shown in seen for video in shown]
        inputs = encode_turn(self.model, self.processor, texts, pictures, videos=videos)
        ids = Session(self.model, self.methods, **asdict(self.scope)).ask(inputs, **generate_options(settings))
        decoded = decode_answers(self.model, self.processor, ids, stops=stop_strings(settings))
        return [text for text, _ in decoded]


def batches(requests: list[Request], size: int) -> Iterator[list[int]]:
    """The numbers of the requests: of equal settings together, the longest words first."""

    def settings(number: int) -> str:
        return json.dumps(requests[number].settings, sort_keys=True, default=str)

    order = sorted(range(len(requests)), key=lambda number: (settings(number), -len(requests[number].words)))
    for _, group in itertools.groupby(order, settings):
        alike = [*group]
        yield from (alike[start : start + size] for start in range(0, len(alike), size))
