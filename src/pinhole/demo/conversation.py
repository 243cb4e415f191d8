"""Conversation: the same questions to the uncompressed model and to a compressed one, about one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

from PIL import Image

from pinhole.demo.host import Host
from pinhole.demo.limits import check_question
from pinhole.demo.side import Answer, Side
from pinhole.evaluation.scoring import exact_match
from pinhole.plan import Plan
from pinhole.reduction import Reduction


@dataclass
class Turn:
    """One question and two answers.

    Attributes:
        question: the words.
        full: the uncompressed model's answer.
        reduced: the compressed one's.
    """

    question: str
    full: Answer = field(default_factory=Answer)
    reduced: Answer = field(default_factory=Answer)

    @property
    def agrees(self) -> bool | None:
        """Whether both say the same, but for case, punctuation and articles; None while they are speaking."""
        return exact_match(self.full.text, self.reduced.text) if self.full.is_done and self.reduced.is_done else None


class Conversation:
    """Two conversations on one model, question by question; each keeps its KV cache and its own answers.

    Args:
        host: the model.
        picture: what they are about.
        plan: what the compressed side does with it.

    Attributes:
        turns: what was asked and answered.
        stop: set from anywhere, it ends the answer that is being given.
    """

    def __init__(self, host: Host, picture: Image.Image, plan: Plan) -> None:
        self._limits, self._picture = host.limits, picture
        self._sides: tuple[Side, Side] | None = (Side(host, Plan.of(None)), Side(host, plan))
        self.reductions: list[Reduction] = []
        self.turns: list[Turn] = []
        self.stop = Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked: the KV caches are given back."""
        return self._sides is None

    @property
    def agreement(self) -> tuple[int, int]:
        """In how many turns both sides said the same, and of how many."""
        judged = [turn.agrees for turn in self.turns]
        return judged.count(True), len(judged) - judged.count(None)

    def ask(self, text: str) -> Iterator[None]:
        """Ask both sides, which take turns at going first; yields whenever `turns` has more to show.

        Raises:
            ValueError: a question that cannot be asked; the conversation is as before.
            Exception: what the model raised; the conversation is over where one side had already answered.
        """
        question = check_question(text, self._limits)
        if self._sides is None:
            raise ValueError(f"this conversation is over ({len(self.turns)} turns): start a new one")
        self.stop.clear()
        turn = Turn(question)
        self.turns.append(turn)
        full, reduced = self._sides
        order = [(full, "full"), (reduced, "reduced")]
        try:
            for side, name in order if len(self.turns) % 2 else order[::-1]:
                for answer in side.ask(question, self._picture, self.stop.is_set):
                    setattr(turn, name, answer)
                    yield
        except BaseException as error:
            self.turns.remove(turn)
            has_answered = turn.full.is_done or turn.reduced.is_done
            if has_answered or not isinstance(error, Exception):  # one side heard what the other did not
                self.close()
            raise
        self.reductions = reduced.chat.reductions
        if len(self.turns) >= self._limits.turns:
            self.close()

    def close(self) -> None:
        """Give back the KV caches, and end the answer that is being given."""
        self.stop.set()
        self._sides = None
