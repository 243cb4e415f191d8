"""From words, images and videos to what a model reads, and from what it says back to words."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.devices import input_device
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.transcript import Transcript
from pinhole.videos import Video


def encode_turn(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    texts: list[str],
    images: list[Image.Image] | None = None,
    first: bool = True,
    videos: list[Video] | None = None,
) -> dict[str, Any]:
    """The model inputs of one turn of a batch of dialogues, padded on the left, on the device of the embeddings.

    Args:
        model: what will read them.
        processor: the model's own.
        texts: what `Transcript.question` returned, one for each dialogue.
        images: in the order of their marks, over all dialogues.
        first: whether it starts the context, which some tokenizers mark with a token.
        videos: as `images`.

    Raises:
        ValueError: another number of images or videos than of marks, or words that stand for one.
        ImportError: videos, where the processor cannot read them.
    """
    family, bos = family_of(model), processor.tokenizer.bos_token
    anchor = "" if first else _anchor(processor, texts)
    inputs = processor(
        text=[anchor + text for text in texts],
        add_special_tokens=first and not (bos and texts[0].startswith(bos)),
        padding=True,
        padding_side="left",
        return_tensors="pt",
        **_pictures(processor, texts, images or []),
        **_films(processor, texts, videos or []),
    )
    taken, device, pixels = _taken(model), input_device(model), family.pixel_inputs.values()
    moved = {
        name: value.to(device, model.dtype if name in pixels else None)
        for name, value in inputs.items()
        if name in taken and isinstance(value, torch.Tensor)
    }
    if anchor:
        moved = _without_first(moved)
    if not images and not videos:
        _check_words(family, processor, moved["input_ids"])
    return {**moved, **family.describe(images or [], len(videos or []))}


def _anchor(processor: ProcessorMixin, texts: list[str]) -> str:
    """What to put before the texts of a later turn, so that they are read as they are behind an answer.

    Some tokenizers set a blank before the first word of whatever they read. Where that makes a difference it is the end
    of an answer, to be taken away again; else nothing.
    """
    end, tokenizer = processor.tokenizer.eos_token or "", processor.tokenizer

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    return end if any(ids(end + text) != ids(end) + ids(text) for text in texts) else ""


def _without_first(inputs: dict[str, Any]) -> dict[str, Any]:
    """Each row without its first token."""
    mask = inputs["attention_mask"]
    mask = mask.scatter(1, mask.argmax(-1, keepdim=True), 0)
    per_token = {
        name: (value * mask)[:, 1:]
        for name, value in inputs.items()
        if value.shape == mask.shape and name != "attention_mask"
    }
    return {**inputs, **per_token, "attention_mask": mask[:, 1:]}


def _check_words(family: Family, processor: ProcessorMixin, ids: torch.Tensor) -> None:
    for modality in family.modalities:
        if bool((ids == family.token_id(modality)).any()):
            token = processor.tokenizer.decode([family.token_id(modality)])
            raise ValueError(f"the words contain {token!r}, with which this model marks {modality}s: leave it out")


def _pictures(processor: ProcessorMixin, texts: list[str], images: list[Image.Image]) -> dict[str, Any]:
    if not images:
        return {}
    return {"images": _by_prompt(images, texts, processor.image_token, "image")}


def _films(processor: ProcessorMixin, texts: list[str], videos: list[Video]) -> dict[str, Any]:
    """Their frames were chosen when they were loaded: the processor takes them all."""
    if not videos:
        return {}
    frames = _by_prompt([video.frames for video in videos], texts, processor.video_token, "video")
    metadata = [  # copies: processors fill in and lengthen what they get
        dataclasses.replace(video.metadata, frames_indices=list(video.metadata.frames_indices or ()))
        for video in videos
    ]
    return {"videos": frames, "video_metadata": metadata, "do_sample_frames": False}


def _by_prompt(items: list[Any], texts: list[str], mark: str, kind: str) -> list[list[Any]]:
    """Each prompt's images or videos in a list of their own: some processors treat a prompt's only one differently."""
    counts = [text.count(mark) for text in texts]
    if sum(counts) != len(items):
        raise ValueError(f"{len(items)} {kind}(s) for {sum(counts)} {mark!r} in the text")
    left = iter(items)
    return [list(itertools.islice(left, count)) for count in counts]


def _taken(model: PreTrainedModel) -> set[str]:
    """The names of the inputs that the model or one of its encoders has a parameter for."""
    base, modalities = model.base_model, family_of(model).modalities
    takers = [model.forward, *(getattr(base, f"get_{modality}_features") for modality in modalities)]
    return {name for taker in takers for name in inspect.signature(taker).parameters}


def decode_answers(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    answers: torch.Tensor,
    ends: int | list[int] | None = None,
    stops: list[str] | None = None,
) -> list[tuple[str, str]]:
    """The text of each answer (B, T), and the text of what ended it: an end-of-sequence token, a stop string, or "".

    Marks that some models set between their words and the end ("<|END_RESPONSE|>") are in neither.

    Args:
        model: what answered.
        processor: its own.
        answers: token ids.
        ends: end-of-sequence tokens; None are the model's own.
        stops: stop strings.
    """
    ids = _end_ids(model) if ends is None else {ends} if isinstance(ends, int) else {*ends}
    marks = {*processor.tokenizer.get_added_vocab().values()}
    decoded = []
    for row in answers.tolist():
        stop = next((i for i, token in enumerate(row) if token in ids), len(row))
        words = next((i for i in range(stop, 0, -1) if row[i - 1] not in marks), 0)
        text = processor.tokenizer.decode(row[:words], skip_special_tokens=True)
        end = processor.tokenizer.decode(row[stop : stop + 1])
        cut = min((at for string in stops or () if (at := text.find(string)) >= 0), default=None)
        if cut is not None:
            text, end = text[:cut], text[cut:]
        decoded.append((text.strip(), end))
    return decoded


def answer_end(model: PreTrainedModel, processor: ProcessorMixin) -> str:
    """The text that ends an answer.

    Those are the marks that the chat template prints behind one, up to the token at which the model stops; if it does
    not print that, the tokenizer's own end-of-sequence token.
    """
    transcript, tokenizer = Transcript(processor), processor.tokenizer
    transcript.question("?")
    transcript.answer("!")
    ids = tokenizer(transcript.question("?"), add_special_tokens=False)["input_ids"]
    marks, ends = {*tokenizer.get_added_vocab().values()}, _end_ids(model)
    count = next((i for i, token in enumerate(ids) if token in ends or token not in marks), 0)
    return tokenizer.decode(ids[: count + 1]) if ids[count] in ends else tokenizer.eos_token


def _end_ids(model: PreTrainedModel) -> set[int]:
    ends = model.generation_config.eos_token_id
    return {*ends} if isinstance(ends, list) else {ends}
