"""Holds the dialogues with every contender and writes down what the model answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.encoding import answer_end, decode_answers, encode_turn
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.engine import Batch, Engine, Read
from pinhole.evaluation.scoring import score
from pinhole.evaluation.sharing import shared
from pinhole.launch import Share
from pinhole.progress import tracked
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.transcript import Transcript


@dataclass(frozen=True)
class EvalSettings:
    """How dialogues are held.

    Attributes:
        history: what later turns see of earlier ones: the model's "own" answers, or the "gold" reference.
        max_new_tokens: limit of one answer.
        batch: dialogues held at once; it does not change the answers beyond rounding.
        scope: how every method is applied.
        frames: the most that are read of a video; None are `pinhole.videos.FRAMES`.
    """

    history: Literal["own", "gold"] = "own"
    max_new_tokens: int = 16
    batch: int = 25
    scope: Scope = field(default_factory=Scope)
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.history not in ("own", "gold"):
            raise ValueError(f"history is own or gold, got {self.history!r}")
        numbers = (self.max_new_tokens, self.batch, 1 if self.frames is None else self.frames)
        if min(numbers) < 1:
            raise ValueError("max_new_tokens, batch and frames are at least 1, got {}, {} and {}".format(*numbers))

    def described(self) -> dict[str, object]:
        """What the answers depend on."""
        told = {"history": self.history, "max_new_tokens": self.max_new_tokens, "frames": self.frames}
        return {**told, **asdict(self.scope)}


def answer_all(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contenders: list[Contender],
    dialogues: list[Dialogue],
    file: AnswerFile,
    settings: EvalSettings,
    share: Share | None = None,
    show_progress: bool = True,
    engine: Engine | None = None,
) -> None:
    """Hold every dialogue under every contender, leaving out what `file` has already.

    Which dialogues are a batch does not depend on what is left of them, nor on the number of processes: a run that was
    stopped gives the answers of one that was not. The model answers on transformers, unless an engine takes its place.
    """
    share = share or Share()
    work = [
        (contender, left)
        for contender in contenders
        for batch in _batches(dialogues, settings.batch)
        if (left := [dialogue for dialogue in batch if not file.has(contender.key, dialogue)])
    ]
    shown = tracked(work, "answering", show_progress and share.rank == 0)
    for contender, left in shared(shown, file.folder / "claims", share):
        held = {"batch": engine.batch(contender, left, settings)} if engine else {}
        file.add(hold(model, processor, contender, left, settings, **held))


def _batches(dialogues: list[Dialogue], size: int) -> Iterator[list[Dialogue]]:
    """Dialogues of equal length together, the longest first: what ends last is short."""
    for _, alike in itertools.groupby(sorted(dialogues, key=_turns, reverse=True), key=_turns):
        group = list(alike)
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _turns(dialogue: Dialogue) -> int:
    return len(dialogue.turns)


def hold(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contender: Contender,
    dialogues: list[Dialogue],
    settings: EvalSettings,
    batch: Batch | None = None,
) -> list[Answered]:
    """Hold dialogues of equal length turn by turn, as one batch; images and videos are encoded and reduced once.

    Args:
        model: the LVLM; where another engine answers, only what says where answers end.
        processor: its own.
        contender: whose answers these are.
        dialogues: of equal length.
        settings: how they are held.
        batch: the same dialogues before their first turn, in an engine; None are held in a `Session`.
    """
    batch = batch or InSession(model, processor, contender, dialogues, settings)
    transcripts, end = [Transcript(processor) for _ in dialogues], answer_end(model, processor)
    said: list[list[str]] = [[] for _ in dialogues]
    gold: list[str] = []
    for turn in range(len(dialogues[0].turns)):
        shown = [(0, 0) if turn else (len(dialogue.images), len(dialogue.videos)) for dialogue in dialogues]
        texts = [
            transcript.question(dialogue.turns[turn].question, *counts)
            for transcript, dialogue, counts in zip(transcripts, dialogues, shown, strict=True)
        ]
        if turn and settings.history == "gold":
            batch.retract()
            texts = [written + end + text for written, text in zip(gold, texts, strict=True)]
        ids = batch.ask(texts)
        answers = [dialogue.turns[turn].answer for dialogue in dialogues]
        gold = [transcript.written(answer) for transcript, answer in zip(transcripts, answers, strict=True)]
        for row, (text, ended_with) in enumerate(decode_answers(model, processor, ids)):
            said[row].append(text)
            heard = (answers[row], end) if settings.history == "gold" else (text, ended_with)
            transcripts[row].answer(*heard)
    records = []
    for dialogue, words, read in zip(dialogues, said, batch.read(), strict=True):
        right = [score(w, turn) for w, turn in zip(words, dialogue.turns, strict=True) if turn.scoring != "judge"]
        asked = digest([dialogue])
        records.append(Answered(contender.key, dialogue.id, asked, words, right, read.sizes, read.text_tokens))
    return records


class InSession:
    """A batch that one `Session` holds, on transformers."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        contender: Contender,
        dialogues: list[Dialogue],
        settings: EvalSettings,
    ) -> None:
        self._model, self._processor, self._dialogues, self._settings = model, processor, dialogues, settings
        self._session = Session(model, contender.methods, **asdict(settings.scope))
        self._lengths: list[int] = []

    def ask(self, texts: list[str]) -> torch.Tensor:
        """As `Batch.ask`."""
        is_first = not self._lengths
        shown = self._dialogues if is_first else []
        images = [image for dialogue in shown for image in dialogue.load_images()]
        videos = [video for dialogue in shown for video in dialogue.load_videos(self._settings.frames)]
        inputs = encode_turn(self._model, self._processor, texts, images, first=is_first, videos=videos)
        if is_first:
            self._lengths = inputs["attention_mask"].sum(-1).tolist()
        return self._session.ask(inputs, max_new_tokens=self._settings.max_new_tokens, do_sample=False)

    def retract(self) -> None:
        """As `Batch.retract`."""
        self._session.retract()

    def read(self) -> list[Read]:
        """As `Batch.read`."""
        reductions, found = iter(self._session.reductions), []
        for dialogue, length in zip(self._dialogues, self._lengths, strict=True):
            seen = itertools.islice(reductions, len(dialogue.images) + len(dialogue.videos))
            sizes = [[reduction.n, reduction.m] for reduction in seen]
            found.append(Read(sizes, length - sum(n for n, _ in sizes)))
        return found
