"""Asks a model the questions of a data set and labels the visual tokens that its answers rest on."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.encoding import decode_answers, encode_turn
from pinhole.evaluation import provenance
from pinhole.evaluation.scoring import score
from pinhole.explain.labels import Label, LabelStore
from pinhole.explain.rollout import Weighting, check_weighting, relevance
from pinhole.families import family_of
from pinhole.launch import Share
from pinhole.loading import fingerprint
from pinhole.progress import tracked
from pinhole.session import Session
from pinhole.transcript import Transcript

Sample = tuple[Dialogue, int]
"""A dialogue and the number of one of its turns."""


@dataclass(frozen=True)
class LabelSettings:
    """How questions are asked and answers labelled.

    Attributes:
        turns: "first" asks the first question of each dialogue, "all" every one by itself with the dialogue's images,
            as if it were the first: then the instruction is that question and nothing else.
        answers: "correct" labels the right answers, as the paper does; "all" the wrong ones too.
        max_answer_tokens: limit of one answer.
        weighting: of the attention in the rollout (see `relevance`).
        batch: questions answered at once; it does not change the labels beyond rounding.
    """

    turns: Literal["first", "all"] = "first"
    answers: Literal["correct", "all"] = "correct"
    max_answer_tokens: int = 16
    weighting: Weighting = "gradient"
    batch: int = 16

    def __post_init__(self) -> None:
        if self.turns not in ("first", "all"):
            raise ValueError(f"turns is first or all, got {self.turns!r}")
        if self.answers not in ("correct", "all"):
            raise ValueError(f"answers is correct or all, got {self.answers!r}")
        check_weighting(self.weighting)
        if min(self.max_answer_tokens, self.batch) < 1:
            raise ValueError("max_answer_tokens and batch are at least 1")

    def described(self) -> dict[str, object]:
        """What the labels depend on."""
        return {name: value for name, value in asdict(self).items() if name != "batch"}


def label(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dialogues: list[Dialogue],
    out: Path,
    name: str,
    settings: LabelSettings | None = None,
    *,
    limit: int | None = None,
    share: Share | None = None,
    show_progress: bool = True,
) -> None:
    """Write labels of the dialogues' questions to `out`, leaving out what it holds already.

    Args:
        model: the LVLM, frozen from here on; it reads every visual token.
        processor: its own.
        dialogues: the data set.
        out: folder of the labels (see `pinhole.explain.labels`).
        name: what the labels call the model.
        settings: how.
        limit: how many of the dialogues, from the first on; None for all. It may grow from run to run.
        share: the part of this process; what any process wrote before counts as done, however many there were.
        show_progress: draw a progress bar, in the first process.

    Raises:
        ValueError: `out` holds labels of another model, of other data or with other settings.
    """
    settings, share = settings or LabelSettings(), share or Share()
    model.requires_grad_(False).eval()
    described = {"model": name, "weights": fingerprint(model), **_loaded(model), "data": digest(dialogues)}
    made_with = {
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }
    store = LabelStore(out, {**described, **settings.described()}, made_with, share.rank)
    samples = [
        (dialogue, turn)
        for dialogue in dialogues[:limit]
        for turn in range(len(dialogue.turns) if settings.turns == "all" else 1)
    ]
    left = [(dialogue, turn) for dialogue, turn in samples if (dialogue.id, turn) not in store.done]
    share.wait()  # until every process knows what is left, none writes
    mine = left[share.rank :: share.count]
    batches = [mine[start : start + settings.batch] for start in range(0, len(mine), settings.batch)]
    with store:
        for batch in tracked(batches, "labelling", show_progress and share.rank == 0):
            for made in labels_of(model, processor, batch, settings):
                store.add(made)
    share.wait()


def labels_of(
    model: PreTrainedModel, processor: ProcessorMixin, samples: list[Sample], settings: LabelSettings
) -> list[Label]:
    """Ask some questions, each by itself, and label the answers."""
    transcript = Transcript(processor)
    texts = [transcript.question(dialogue.turns[turn].question, len(dialogue.images)) for dialogue, turn in samples]
    pictures = [dialogue.load_images() for dialogue, _ in samples]
    ids, sizes = _answers(model, processor, texts, pictures, settings.max_answer_tokens)
    words = decode_answers(model, processor, ids)
    labels = []
    for (dialogue, turn), text, images, said, (answer, _), counts in zip(
        samples, texts, pictures, ids, words, sizes, strict=True
    ):
        asked = dialogue.turns[turn]
        correct, tokens = score(answer, asked) >= 0.5, answer_tokens(model, processor, said)
        shares: tuple[torch.Tensor, ...] = ()
        fingerprints: tuple[int, ...] = ()
        if len(tokens) and (correct or settings.answers == "all"):
            shares, fingerprints = _explained(model, processor, text, images, tokens, settings.weighting)
        labels.append(Label(dialogue.id, turn, asked.question, answer, correct, shares, counts, fingerprints))
    return labels


def answer_tokens(model: PreTrainedModel, processor: ProcessorMixin, said: torch.Tensor) -> torch.Tensor:
    """The tokens (T,) of an answer's words: of what was generated, all before the token that ends it.

    Marks that some models set between their words and the end belong to neither, as in `decode_answers`.
    """
    ends = model.generation_config.eos_token_id
    is_end = torch.isin(said, torch.tensor(ends if ends is not None else [], device=said.device))
    words = said[: int(is_end.long().argmax())] if bool(is_end.any()) else said
    marks = torch.tensor([*processor.tokenizer.get_added_vocab().values()], device=said.device)
    last = (~torch.isin(words, marks)).nonzero()[:, 0]
    return words[: int(last[-1]) + 1] if len(last) else words[:0]


def _answers(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    texts: list[str],
    pictures: list[list[Image.Image]],
    limit: int,
) -> tuple[torch.Tensor, list[tuple[int, ...]]]:
    """What the model generates (B, T), and the visual tokens of every image of each prompt."""
    inputs = encode_turn(model, processor, texts, [picture for row in pictures for picture in row])
    session = Session(model)
    ids = session.ask(inputs, max_new_tokens=limit, do_sample=False)
    reductions = iter(session.reductions)
    return ids, [tuple(one.n for one in itertools.islice(reductions, len(row))) for row in pictures]


def _explained(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    text: str,
    images: list[Image.Image],
    answer: torch.Tensor,
    weighting: Weighting,
) -> tuple[tuple[torch.Tensor, ...], tuple[int, ...]]:
    """R_v and fingerprint of each image of one prompt."""
    family, inputs = family_of(model), encode_turn(model, processor, [text], images)
    with torch.no_grad():
        visuals, _ = family.encode(inputs)
    shares = relevance(family, inputs, answer, weighting, visuals)
    return tuple(shares), tuple(visual.tokens.fingerprint for visual in visuals)


def _loaded(model: PreTrainedModel) -> dict[str, Any]:
    """How the weights were loaded, as far as answers depend on it."""
    quantization = model.config.to_dict().get("quantization_config")
    return {"dtype": str(model.dtype), "quantization": quantization, "attention": model.config._attn_implementation}
