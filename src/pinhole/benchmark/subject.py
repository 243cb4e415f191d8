"""Subject: a model and the dialogue that it is measured on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.benchmark.random_weights import random_model
from pinhole.benchmark.shapes import Shape, parse_shape
from pinhole.devices import device_named
from pinhole.encoding import answer_end, encode_turn
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.loading import ATTENTION
from pinhole.precision import fastest_precision
from pinhole.transcript import Transcript

WORDS = (
    "the",
    "large",
    "red",
    "cube",
    "stands",
    "near",
    "one",
    "small",
    "green",
    "ball",
    "and",
    "two",
    "blue",
    "cones",
)
SIDE = 672
"""Pixels along the square picture that a checkpoint is shown."""


@dataclass(frozen=True)
class Lengths:
    """How long the dialogue is.

    Attributes:
        turns: questions.
        text: text tokens of the first turn's prompt; of a checkpoint's, those of the question, roughly.
        later: tokens of every later turn; of a checkpoint's, those of the question, roughly.
        answer: tokens of every answer.
    """

    turns: int = 3
    text: int = 64
    later: int = 24
    answer: int = 16

    def __post_init__(self) -> None:
        if min(self.turns, self.later) < 1 or self.text < 8 or self.answer < 2:
            raise ValueError(
                "a dialogue has at least 1 turn, 8 text tokens, 1 token in every later turn and 2 in every answer; "
                f"got turns={self.turns}, text={self.text}, later={self.later}, answer={self.answer}"
            )


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and the dialogue that it is measured on, one row, one picture in the first turn.

    Attributes:
        model: in evaluation mode.
        first: inputs of the first turn.
        later: inputs of every later turn.
        answer: tokens of every answer.
    """

    model: PreTrainedModel
    first: dict[str, Any]
    later: tuple[dict[str, Any], ...]
    answer: int

    @property
    def family(self) -> Family:
        """The model's."""
        return family_of(self.model)

    @property
    def turns(self) -> int:
        """Questions."""
        return 1 + len(self.later)

    def whole(self, turn: int) -> dict[str, Any]:
        """Inputs of a turn, counted from 0, for a model that remembers nothing: everything that was said, and asked.

        The answers stand for themselves: any words of their length.
        """
        ids, device = [self.first["input_ids"]], self.first["input_ids"].device
        for inputs in self.later[:turn]:
            ids += [ids[0][:, -1:].expand(-1, self.answer), inputs["input_ids"]]
        joined = torch.cat(ids, 1)
        more = joined.shape[1] - ids[0].shape[1]
        per_token = {
            name: torch.cat([value, torch.zeros(1, more, dtype=value.dtype, device=device)], 1)
            for name, value in self.first.items()
            if isinstance(value, torch.Tensor) and value.shape == ids[0].shape
        }
        return {**self.first, **per_token, "input_ids": joined, "attention_mask": torch.ones_like(joined)}


def subject_of_shape(
    name: str, lengths: Lengths, dtype: str = "auto", device: str | None = None, attention: str | None = None
) -> Subject | None:
    """A named architecture with random weights, and a picture for it; None where the name is of none.

    Args:
        name: as `parse_shape` reads it.
        lengths: of the dialogue.
        dtype: a torch dtype's name; "auto" is what the device computes fastest, bfloat16 or float32.
        device: such as "cuda"; None is the GPU where there is one, else the CPU.
        attention: implementation; None is transformers' choice.

    Raises:
        ValueError: an unknown architecture written as one, or no such dtype, device or attention.
    """
    parsed = parse_shape(name)
    if parsed is None:
        return None
    shape, layers = parsed
    place = _place(device)
    precision = _precision(dtype, place)
    if attention is not None and attention not in ATTENTION and "/" not in attention:
        raise ValueError(f"no attention implementation {attention!r}: give one of {', '.join(ATTENTION)}")
    return _with_picture(shape, random_model(shape.at_depth(layers), precision, place, attention), lengths)


def _precision(name: str, device: torch.device) -> torch.dtype:
    found = fastest_precision(device) if name == "auto" else getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"no dtype {name!r}: give auto, float32, bfloat16 or float16")
    return found


def _place(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return device_named(name)


def _with_picture(shape: Shape, model: PreTrainedModel, lengths: Lengths) -> Subject:
    device, dtype = model.device, model.dtype
    generator = torch.Generator().manual_seed(0)
    picture = {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in shape.picture(generator).items()
    }
    image = [family_of(model).token_id("image")] * shape.visual
    before, behind = shape.around

    def words(count: int) -> list[int]:
        return torch.randint(3, 1000, (count,), generator=generator).tolist()

    def inputs(ids: list[int]) -> dict[str, torch.Tensor]:
        row = torch.tensor([ids], device=device)
        return {"input_ids": row, "attention_mask": torch.ones_like(row)}

    text = lengths.text - len(before) - len(behind)
    first = inputs([*words(text // 2), *before, *image, *behind, *words(text - text // 2)])
    later = tuple(inputs(words(lengths.later)) for _ in range(lengths.turns - 1))
    return Subject(model, {**first, **picture}, later, lengths.answer)


def subject_of_checkpoint(model: PreTrainedModel, processor: ProcessorMixin, lengths: Lengths) -> Subject:
    """A loaded model, a picture of noise through its own processor, and words in its own chat template."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    transcript, end = Transcript(processor), answer_end(model, processor)
    first = encode_turn(model, processor, [transcript.question(_words(processor, lengths.text), 1)], [image])
    later = []
    for _ in range(lengths.turns - 1):
        transcript.answer(_words(processor, lengths.answer), end)
        question = transcript.question(_words(processor, lengths.later))
        later.append(encode_turn(model, processor, [question], first=False))
    return Subject(model, first, tuple(later), lengths.answer)


def _words(processor: ProcessorMixin, tokens: int) -> str:
    """So many words that they are at least so many tokens."""
    said: list[str] = []
    for word in itertools.cycle(WORDS):
        said.append(word)
        if len(processor.tokenizer(" ".join(said), add_special_tokens=False)["input_ids"]) >= tokens:
            break
    return " ".join(said)
