"""Dialogues as training sequences: all turns of a dialogue in one, with labels on the answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.encoding import answer_end, encode_turn
from pinhole.transcript import Transcript


def batch_of(
    model: PreTrainedModel, processor: ProcessorMixin, dialogues: list[Dialogue], scale: float = 1.0
) -> dict[str, Any]:
    """Model inputs with `labels`: -100 everywhere but on the answers and the token that ends each of them.

    The tokens are those that a `Chat` would feed turn by turn, with the reference answers as history.

    Args:
        model: that reads them.
        processor: its own.
        dialogues: one a row.
        scale: what the sides of the pictures are multiplied by first.
    """
    tokenizer = processor.tokenizer
    transcripts = [Transcript(processor) for _ in dialogues]
    firsts = [
        transcript.question(dialogue.turns[0].question, len(dialogue.images))
        for transcript, dialogue in zip(transcripts, dialogues, strict=True)
    ]
    pictures = [_scaled(picture, scale) for dialogue in dialogues for picture in dialogue.load_images()]
    inputs = encode_turn(model, processor, firsts, pictures)
    end = answer_end(model, processor)
    questions: list[str] = []
    answers: list[str] = []
    for transcript, dialogue in zip(transcripts, dialogues, strict=True):
        for i, turn in enumerate(dialogue.turns):
            if i:
                questions.append(transcript.question(turn.question))
            answers.append(transcript.written(turn.answer) + end)
            transcript.answer(turn.answer, end)
    asked = iter(_rows(encode_turn(model, processor, questions, first=False)) if questions else [])
    answered = iter(tokenizer(answers, add_special_tokens=False)["input_ids"])
    rows: list[tuple[list[int], list[int]]] = []
    for start, dialogue in zip(_rows(inputs), dialogues, strict=True):
        ids, labels = list(start), [-100] * len(start)
        for i in range(len(dialogue.turns)):
            question, answer = next(asked) if i else [], next(answered)
            ids += question + answer
            labels += [-100] * len(question) + answer
        rows.append((ids, labels))
    return {**inputs, **_padded(inputs, rows, tokenizer.pad_token_id)}


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _rows(inputs: dict[str, Any]) -> list[list[int]]:
    """The ids of every row, without padding."""
    return [ids[mask.bool()].tolist() for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]


def _padded(inputs: dict[str, Any], rows: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """The rows' ids and labels, padded on the right, and whatever else the first turn has for every token.

    The words that follow the first turn are text, which is 0 in the token types that some models read.
    """
    first, length = inputs["attention_mask"], max(len(ids) for ids, _ in rows)

    def padded(values: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([row + [fill] * (length - len(row)) for row in values], device=first.device)

    others = {
        name: padded([values[mask.bool()].tolist() for values, mask in zip(value, first, strict=True)], 0)
        for name, value in inputs.items()
        if value.shape == first.shape
    }
    return {
        **others,
        "input_ids": padded([ids for ids, _ in rows], pad),
        "attention_mask": padded([[1] * len(ids) for ids, _ in rows], 0),
        "labels": padded([labels for _, labels in rows], -100),
    }


def order(count: int, batch: int, epoch: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices below `count`, shuffled anew each epoch, the same for the same seed; the last may be small."""
    indices = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(indices)
    for start in range(0, count, batch):
        yield indices[start : start + batch]
