"""Transcript: a dialogue as the pieces of text that a chat template makes of it, one per turn."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

_MARK = "PINHOLEANSWER"


class Transcript:
    """Turns messages into the text that each turn adds to the context, for any chat template.

    The text of a turn is what the template prints after the answer before it, so feeding turn after turn gives the
    same context as rendering the whole dialogue, with the answers as they were generated.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        if not getattr(processor, "chat_template", None):
            raise ValueError(
                f"the processor {type(processor).__name__} has no chat template: save one with it, "
                "or set processor.chat_template"
            )
        self._processor = processor
        self._said: list[dict[str, Any]] = []
        self._pending: dict[str, Any] = {}
        self._end = ""

    def question(self, text: str, images: int = 0) -> str:
        """The text that the next question adds, up to where its answer starts; its images come before its words.

        Asking again before `answer` replaces the question.

        Raises:
            ValueError: the words contain the model's own mark of an image, or the template prints no mark for one.
        """
        image = self._processor.image_token
        if image in text:
            raise ValueError(f"the question contains {image!r}, with which this model marks an image: leave it out")
        parts: list[dict[str, str]] = [{"type": "image"} for _ in range(images)]
        self._pending = {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
        messages, mark = [*self._said, self._pending], _MARK
        while mark in text:
            mark += _MARK
        if self._said:
            messages[-2] = _assistant(mark)
        rendered = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        turn = rendered.rpartition(mark)[2].removeprefix(self._end)
        if turn.count(image) != images:
            raise ValueError(
                f"the chat template printed {turn.count(image)} {image!r} for {images} image(s): "
                "set a processor.chat_template that marks every image"
            )
        return turn

    def answer(self, text: str, end: str = "") -> None:
        """Note the answer to the latest question, and the text of the token that ended it: it is not repeated."""
        self._said += [self._pending, _assistant(text)]
        self._end = end


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def encode_turn(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    texts: list[str],
    images: list[Image.Image] | None = None,
    first: bool = True,
) -> dict[str, Any]:
    """The model inputs of one turn of a batch of dialogues, padded on the left, on the model's device.

    Args:
        model: what will read them.
        processor: the model's own.
        texts: what `Transcript.question` returned, one for each dialogue.
        images: in the order of their marks, over all dialogues.
        first: whether it starts the context, which some tokenizers mark with a token.
    """
    bos = processor.tokenizer.bos_token
    inputs = processor(
        text=texts,
        images=images or None,
        add_special_tokens=first and not (bos and texts[0].startswith(bos)),
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


def decode_answers(model: PreTrainedModel, processor: ProcessorMixin, answers: torch.Tensor) -> list[tuple[str, str]]:
    """The text of each answer (B, T), and the text of the end-of-sequence token it ended with, if it did."""
    ends = model.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    decoded = []
    for row in answers.tolist():
        stop = next((i for i, token in enumerate(row) if token in ends), len(row))
        text = processor.tokenizer.decode(row[:stop], skip_special_tokens=True).strip()
        decoded.append((text, processor.tokenizer.decode(row[stop : stop + 1])))
    return decoded
