"""Which part of a request's prompt is its first question, for methods that read it: nothing here needs vLLM."""

from __future__ import annotations

import itertools
from collections.abc import Set

from transformers import ProcessorMixin

from pinhole.transcript import Transcript

ASKED = "pinhole_asked"
"""What the processor's options call the first turn's ids, and, with a modality behind it, the encoder's inputs."""


def asked_input(modality: str) -> str:
    """The name of the encoder's input that holds the first turn's ids, for each image or video of its own."""
    return f"{ASKED}_{modality}"


def opening(processor: ProcessorMixin) -> list[int]:
    """The ids with which a chat template ends a question and opens the answer.

    Raises:
        ValueError: the processor has no chat template, or one that prints nothing there.
    """
    transcript = Transcript(processor)
    turns = [processor.tokenizer(transcript.question(text))["input_ids"] for text in ("a", "?")]
    pairs = zip(*map(reversed, turns), strict=False)
    shared = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)][::-1]
    if not shared:
        raise ValueError("the chat template prints nothing between a question and its answer, so no end is seen of it")
    return shared


def first_turn(prompt: list[int], placeholders: Set[int], answer: list[int]) -> list[int]:
    """The ids of a dialogue's first turn, up to where its answer starts.

    Args:
        prompt: of the whole dialogue, with one placeholder for each image or video.
        placeholders: their ids.
        answer: what `opening` gives.

    Raises:
        ValueError: there is another number of images and videos than one, it is not in the first turn, or that turn has
            no end.
    """
    shown = [i for i, token in enumerate(prompt) if token in placeholders]
    if len(shown) != 1:
        raise ValueError(
            f"the prompt has {len(shown)} images and videos, and the server's method reads the question about one: "
            "send one"
        )
    length = len(answer)
    ends = (i + length for i in range(len(prompt) - length + 1) if prompt[i : i + length] == answer)
    end = next(ends, None)
    if end is None:
        raise ValueError(
            "the prompt does not show where the first answer starts, and the server's method reads the question before "
            "it: write prompts with the model's own chat template"
        )
    if end <= shown[0]:
        raise ValueError(
            "the image or video is not in the first question, which the server's method reads: show it there"
        )
    return prompt[:end]
