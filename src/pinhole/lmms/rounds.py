"""Tasks of several rounds, where what is asked next depends on the answers so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pinhole.lmms.answering import Answerer
from pinhole.lmms.requests import Request

Round = tuple[Sequence[Any] | None, str, bool, Sequence[str], Any]
"""What lmms-eval's tasks give: visuals, words, whether it is over, the answers as they count, what to remember."""


class Rounds:
    """One document that is asked about in several rounds.

    Args:
        first: the first round's prompt.
        ask_next: gives the next round, from `previous_output` (all answers so far), `round_idx` (from 1 on) and
            `previous_round_info` (what it wanted to remember, at first None).

    Attributes:
        request: what is asked now.
        answers: those that count, one a round.
        is_over: whether nothing more is asked.
    """

    def __init__(self, first: Request, ask_next: Callable[..., Round]) -> None:
        self.request, self._ask_next = first, ask_next
        self.answers: list[str] = []
        self.is_over = False
        self._number, self._remembered = 0, None

    def hear(self, answer: str) -> None:
        """Take the answer to `request`, and ask what follows it."""
        self._number += 1
        visuals, words, self.is_over, answers, self._remembered = self._ask_next(
            previous_output=[*self.answers, answer],
            round_idx=self._number,
            previous_round_info=self._remembered,
        )
        self.answers = [*answers]
        if not self.is_over:
            self.request = Request(words, lambda: visuals, self.request.settings)


def answer_rounds(answerer: Answerer, documents: list[Rounds], show_progress: bool = False) -> list[list[str]]:
    """The answers of every document, all that go on asked together."""
    while going := [document for document in documents if not document.is_over]:
        said = answerer.answer([document.request for document in going], show_progress)
        for document, answer in zip(going, said, strict=True):
            document.hear(answer)
    return [document.answers for document in documents]
