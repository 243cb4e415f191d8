"""Chat: a conversation about images, each compressed once; later turns prefill only their own words."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any, Unpack

import torch
from transformers import PreTrainedModel, ProcessorMixin, TextIteratorStreamer

from pinhole.images import ImageSource, load_image
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.scope import ScopeOptions
from pinhole.session import Session
from pinhole.transcript import Transcript, decode_answers, encode_turn


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
        method: what reduces the images; None keeps every visual token.
        max_new_tokens: limit of one answer.
        scope: `positions`, `video` and `separators`, as `pinhole.Scope` explains them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        method: InputMethod | None = None,
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
        """What was decided for each image so far."""
        return self._session.reductions

    @property
    def context_length(self) -> int:
        """Tokens of the whole conversation, reduced images included."""
        return self._session.context.length

    def ask(self, question: str, images: list[ImageSource] | None = None, **generate: Any) -> str:
        """Ask, with new images or about those already seen, and return the answer.

        Args:
            question: the words of this turn.
            images: files, bytes or PIL images that come before the words.
            generate: passed to `model.generate` (greedy unless it says otherwise).
        """
        answer = self._session.ask(self._inputs(question, images), **self._settings(generate))
        return self._note(answer)

    def stream(self, question: str, images: list[ImageSource] | None = None, **generate: Any) -> Iterator[str]:
        """As `ask`, but yields the answer piece by piece while it is generated."""
        inputs, settings = self._inputs(question, images), self._settings(generate)
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
                self._note(result[0])
        if isinstance(result[0], BaseException):
            raise result[0]

    def _inputs(self, question: str, images: list[ImageSource] | None) -> dict[str, Any]:
        pictures = [load_image(image) for image in images or ()]
        text = self._transcript.question(question, len(pictures))
        return encode_turn(self._model, self._processor, [text], pictures, first=not self.context_length)

    def _settings(self, generate: dict[str, Any]) -> dict[str, Any]:
        return {"max_new_tokens": self._max_new_tokens, "do_sample": False, **generate}

    def _note(self, answer: torch.Tensor) -> str:
        [(text, end)] = decode_answers(self._model, self._processor, answer)
        self._transcript.answer(text, end)
        return text
