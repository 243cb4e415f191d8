"""Chat: a conversation about images and videos, each compressed once; later turns prefill only their own words."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any, Unpack

import torch
from transformers import PreTrainedModel, ProcessorMixin, TextIteratorStreamer

from pinhole.encoding import decode_answers, encode_turn
from pinhole.images import ImageSource, load_image
from pinhole.plan import Methods
from pinhole.reduction import Reduction
from pinhole.scope import ScopeOptions
from pinhole.session import Session
from pinhole.transcript import Transcript
from pinhole.videos import VideoSource, load_video


class Chat:
    """One conversation with an LVLM.

    ```python
    chat = pinhole.Chat(model, processor, pinhole.Sample(keep=0.1))
    chat.ask("What shape is the red object?", images=["scene.png"])
    chat.ask("How many red objects are there?")
    ```

    Args:
        model: a loaded LVLM of a supported family.
        processor: its own processor, with a chat template.
        method: what reduces images and videos, as for `pinhole.compress`; None keeps every visual token.
        max_new_tokens: limit of one answer.
        scope: `positions`, `video` and `separators`, as `pinhole.Scope` explains them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        method: Methods = None,
        *,
        max_new_tokens: int = 256,
        **scope: Unpack[ScopeOptions],
    ) -> None:
        self._session = Session(model, method, **scope)
        self._transcript = Transcript(processor)
        self._model, self._processor = model, processor
        self._max_new_tokens = max_new_tokens

    @property
    def reductions(self) -> list[Reduction]:
        """What was decided for each image and video so far."""
        return self._session.reductions

    @property
    def context_length(self) -> int:
        """Tokens of the whole conversation, reduced images and videos included."""
        return self._session.context.length

    def ask(
        self,
        question: str,
        images: list[ImageSource] | None = None,
        videos: list[VideoSource] | None = None,
        **generate: Any,
    ) -> str:
        """Ask, with new images and videos or about those already seen, and return the answer.

        Args:
            question: the words of this turn.
            images: files, bytes or PIL images that come before the words.
            videos: files, or lists of frames, that come after the images.
            generate: passed to `model.generate` (greedy unless it says otherwise). `stop_strings` and what follows
                them are left out of what is returned.
        """
        answer = self._session.ask(self._inputs(question, images, videos), **self._settings(generate))
        return self._note(answer, generate)

    def stream(
        self,
        question: str,
        images: list[ImageSource] | None = None,
        videos: list[VideoSource] | None = None,
        **generate: Any,
    ) -> Iterator[str]:
        """As `ask`, but yields the answer piece by piece while it is generated."""
        inputs, settings = self._inputs(question, images, videos), self._settings(generate)
        streamer = TextIteratorStreamer(self._processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        result: list[torch.Tensor | BaseException] = []

        def run() -> None:
            try:
                result.append(self._session.ask(inputs, streamer=streamer, **settings))
            except BaseException as error:  # it is raised again below, in the caller's thread
                result.append(error)
                streamer.end()

        thread = Thread(target=run, daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:  # also where the caller stops listening: the session holds the whole answer by then
            thread.join()
            if isinstance(result[0], torch.Tensor):
                self._note(result[0], generate)
        if isinstance(result[0], BaseException):
            raise result[0]

    def _inputs(
        self, question: str, images: list[ImageSource] | None, videos: list[VideoSource] | None
    ) -> dict[str, Any]:
        text = self._transcript.question(question, len(images or ()), len(videos or ()))
        pictures, films = [load_image(image) for image in images or ()], [load_video(video) for video in videos or ()]
        first = not self.context_length
        return encode_turn(self._model, self._processor, [text], pictures, first=first, videos=films)

    def _settings(self, generate: dict[str, Any]) -> dict[str, Any]:
        defaults = {"max_new_tokens": self._max_new_tokens, "do_sample": False, "tokenizer": self._processor.tokenizer}
        return {**defaults, **generate}

    def _note(self, answer: torch.Tensor, generate: dict[str, Any]) -> str:
        stops = generate.get("stop_strings", self._model.generation_config.stop_strings)
        stops = [stops] if isinstance(stops, str) else stops
        [(text, end)] = decode_answers(self._model, self._processor, answer, generate.get("eos_token_id"), stops)
        self._transcript.answer(text, end)
        return text
