"""Holds the dialogues with every contender and writes down what the model answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from rich.progress import track
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.encoding import answer_end, decode_answers, encode_turn
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.scoring import score
from pinhole.evaluation.sharing import shared
from pinhole.launch import Share
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
        if min(self.max_new_tokens, self.batch, 1 if self.frames is None else self.frames) < 1:
            raise ValueError("max_new_tokens, batch and frames are at least 1")

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
) -> None:
    """Hold every dialogue under every contender, leaving out what `file` has already.

    Which dialogues are a batch does not depend on what is left of them, nor on the number of processes: a run that was
    stopped gives the answers of one that was not.
    """
    share = share or Share()
    work = [
        (contender, left)
        for contender in contenders
        for batch in _batches(dialogues, settings.batch)
        if (left := [dialogue for dialogue in batch if not file.has(contender.key, dialogue)])
    ]
    shown = track(work, "answering", disable=not show_progress or share.rank > 0)
    for contender, batch in shared(shown, file.folder / "claims", share):
        file.add(hold(model, processor, contender, batch, settings))


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
) -> list[Answered]:
    """Hold dialogues of equal length turn by turn, as one batch; images and videos are encoded and reduced once."""
    session = Session(model, contender.methods, **asdict(settings.scope))
    transcripts = [Transcript(processor) for _ in dialogues]
    images = [dialogue.load_images() for dialogue in dialogues]
    videos = [dialogue.load_videos(settings.frames) for dialogue in dialogues]
    end = answer_end(model, processor)
    said: list[list[str]] = [[] for _ in dialogues]
    prompt_lengths: list[int] = []
    gold: list[str] = []
    for turn in range(len(dialogues[0].turns)):
        texts = [
            transcript.question(dialogue.turns[turn].question, *((0, 0) if turn else (len(pictures), len(films))))
            for transcript, dialogue, pictures, films in zip(transcripts, dialogues, images, videos, strict=True)
        ]
        if turn and settings.history == "gold":
            session.retract()
            texts = [written + end + text for written, text in zip(gold, texts, strict=True)]
        pictures, films = ([] if turn else [*itertools.chain(*rows)] for rows in (images, videos))
        inputs = encode_turn(model, processor, texts, pictures, first=not turn, videos=films)
        if not turn:
            prompt_lengths = inputs["attention_mask"].sum(-1).tolist()
        ids = session.ask(inputs, max_new_tokens=settings.max_new_tokens, do_sample=False)
        answers = [dialogue.turns[turn].answer for dialogue in dialogues]
        gold = [transcript.written(answer) for transcript, answer in zip(transcripts, answers, strict=True)]
        for row, (text, ended_with) in enumerate(decode_answers(model, processor, ids)):
            said[row].append(text)
            heard = (answers[row], end) if settings.history == "gold" else (text, ended_with)
            transcripts[row].answer(*heard)
    reductions = iter(session.reductions)
    records = []
    for dialogue, words, length in zip(dialogues, said, prompt_lengths, strict=True):
        seen = itertools.islice(reductions, len(dialogue.images) + len(dialogue.videos))
        sizes = [[reduction.n, reduction.m] for reduction in seen]
        right = [score(w, turn) for w, turn in zip(words, dialogue.turns, strict=True) if turn.scoring != "judge"]
        text_tokens = length - sum(n for n, _ in sizes)
        records.append(Answered(contender.key, dialogue.id, digest([dialogue]), words, right, sizes, text_tokens))
    return records
