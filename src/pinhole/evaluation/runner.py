"""Holds the dialogues with every contender and writes down what the model answers."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field
from typing import Literal

from rich.progress import track
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.encoding import answer_end, decode_answers, encode_turn
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import Contender
from pinhole.evaluation.scoring import exact_match
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
    """

    history: Literal["own", "gold"] = "own"
    max_new_tokens: int = 16
    batch: int = 25
    scope: Scope = field(default_factory=Scope)

    def __post_init__(self) -> None:
        if self.history not in ("own", "gold"):
            raise ValueError(f"history is own or gold, got {self.history!r}")
        if min(self.max_new_tokens, self.batch) < 1:
            raise ValueError("max_new_tokens and batch are at least 1")

    def described(self) -> dict[str, object]:
        """What the answers depend on."""
        return {"history": self.history, "max_new_tokens": self.max_new_tokens, **asdict(self.scope)}


def answer_all(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contenders: list[Contender],
    dialogues: list[Dialogue],
    file: AnswerFile,
    settings: EvalSettings,
    show_progress: bool = True,
) -> None:
    """Hold every dialogue under every contender, leaving out what `file` has already."""
    work = []
    for contender in contenders:
        left = [dialogue for dialogue in dialogues if not file.has(contender.key, dialogue)]
        for _, alike in itertools.groupby(sorted(left, key=_turns), key=_turns):
            group = list(alike)
            work += [(contender, group[i : i + settings.batch]) for i in range(0, len(group), settings.batch)]
    for contender, batch in track(work, "answering", disable=not show_progress):
        file.add(hold(model, processor, contender, batch, settings))


def _turns(dialogue: Dialogue) -> int:
    return len(dialogue.turns)


def hold(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    contender: Contender,
    dialogues: list[Dialogue],
    settings: EvalSettings,
) -> list[Answered]:
    """Hold dialogues of equal length turn by turn, as one batch; each image is encoded and reduced once."""
    session = Session(model, contender.methods, **asdict(settings.scope))
    transcripts = [Transcript(processor) for _ in dialogues]
    images = [dialogue.load_images() for dialogue in dialogues]
    end = answer_end(model, processor)
    said: list[list[str]] = [[] for _ in dialogues]
    prompt_lengths: list[int] = []
    gold: list[str] = []
    for turn in range(len(dialogues[0].turns)):
        texts = [
            transcript.question(dialogue.turns[turn].question, 0 if turn else len(pictures))
            for transcript, dialogue, pictures in zip(transcripts, dialogues, images, strict=True)
        ]
        if turn and settings.history == "gold":
            session.retract()
            texts = [written + end + text for written, text in zip(gold, texts, strict=True)]
        pictures = None if turn else [picture for row in images for picture in row]
        inputs = encode_turn(model, processor, texts, pictures, first=not turn)
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
    for dialogue, words, pictures, length in zip(dialogues, said, images, prompt_lengths, strict=True):
        sizes = [[reduction.n, reduction.m] for reduction in itertools.islice(reductions, len(pictures))]
        right = [exact_match(word, turn.answer) for word, turn in zip(words, dialogue.turns, strict=True)]
        text_tokens = length - sum(n for n, _ in sizes)
        records.append(Answered(contender.key, dialogue.id, digest([dialogue]), words, right, sizes, text_tokens))
    return records
