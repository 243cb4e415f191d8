"""A judge model says which of two answers is better: the model's, or the reference that people verified.

ConvBench's measure (arXiv 2403.20194): the share of comparisons that the model's answers win, in %. A comparison
without a verdict stays in the denominator. The instructions to the judge are our own, and two things differ from the
published evaluation on purpose. Each pair is judged in both orders, because judges prefer a place (Zheng et al., arXiv
2306.05685; in the published one the order was drawn once for each conversation). And of a turn the judge reads what
came before it, not after it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pinhole.data import Dialogue
from pinhole.evaluation.endpoint import Endpoint, Message
from pinhole.progress import tracked

Verdict = Literal["A", "B"]

_SYSTEM = """You compare the answers of two assistants, A and B, in a conversation about a picture. You do not see the
picture; a description of it is given. Go by correctness first, then by relevance, detail and language. Neither the
order of the assistants nor the length of an answer is a reason. Explain your judgement briefly. End with one line that
is either "Verdict: A" or "Verdict: B"; there are no ties."""
_AGAIN = 'Reply with one line alone: "Verdict: A" or "Verdict: B".'
_VERDICT = re.compile(r"^\W*verdict\W*(?:assistant\W*)?([AB])\W*$", re.IGNORECASE | re.MULTILINE)
_TRIES = 3


@dataclass(frozen=True)
class Judged:
    """One dialogue.

    Attributes:
        turns: share of the comparisons that the model's answer won, for each turn.
        overall: the same for the conversation as a whole.
        unresolved: comparisons in which the judge gave no verdict.
        comparisons: all of them.
    """

    turns: tuple[float, ...]
    overall: float
    unresolved: int
    comparisons: int


class Judge:
    """Compares answers with references; what it said is kept on disk and not asked again.

    Args:
        endpoint: the judge model.
        kept: JSON Lines file of its verdicts; it is made.
        swap: judge each pair in both orders; otherwise in one, which the question decides.
        workers: requests at once.
    """

    def __init__(self, endpoint: Endpoint, kept: Path, *, swap: bool = True, workers: int = 8) -> None:
        if workers < 1:
            raise ValueError(f"a judge has one worker or more, got {workers}")
        self.endpoint = endpoint
        self._kept, self._swap, self._workers = kept, swap, workers
        self._verdicts = _read(kept)
        self._lock = threading.Lock()

    def judge(self, pairs: list[tuple[Dialogue, list[str]]], show_progress: bool = True) -> list[Judged]:
        """Judge dialogues; what one call could not finish, the next goes on with.

        Args:
            pairs: each with the model's answers, one for each turn.
            show_progress: draw a progress bar.

        Raises:
            ConnectionError: the endpoint does not answer.
            ValueError: it refuses the requests.
        """
        asked = [
            (number, turn, ours, messages)
            for number, (dialogue, answers) in enumerate(pairs)
            for turn in (*range(len(dialogue.turns)), None)
            for ours, messages in self._orders(dialogue, answers, turn)
        ]
        with ThreadPoolExecutor(self._workers) as pool:
            jobs = [pool.submit(self._verdict, messages) for _, _, _, messages in asked]
            try:
                verdicts = [job.result() for job in tracked(jobs, "judging", show_progress)]
            except ConnectionError as error:
                pool.shutdown(cancel_futures=True)
                kept = f"{len(self._verdicts)} verdicts are kept in {self._kept}, and the same command goes on"
                raise ConnectionError(f"{error}; {kept}") from error
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        found: list[dict[int | None, list[tuple[Verdict | None, Verdict]]]] = [{} for _ in pairs]
        for (number, turn, ours, _), verdict in zip(asked, verdicts, strict=True):
            found[number].setdefault(turn, []).append((verdict, ours))
        return [_judged(of_one) for of_one in found]

    def _orders(
        self, dialogue: Dialogue, answers: list[str], turn: int | None
    ) -> Iterable[tuple[Verdict, list[Message]]]:
        """The place of the model's answers, and what the judge reads, for each order."""
        first: Verdict = "A" if hashlib.sha256(f"{dialogue.id} {turn}".encode()).digest()[0] % 2 else "B"
        orders: tuple[Verdict, ...] = ("A", "B") if self._swap else (first,)
        for ours in orders:
            yield ours, messages_for(dialogue, answers, turn, ours)

    def _verdict(self, messages: list[Message]) -> Verdict | None:
        told = [self.endpoint.model, dict(self.endpoint.options), messages]
        key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if key in self._verdicts:
            return self._verdicts[key]
        verdict, asked = None, messages
        for _ in range(_TRIES):
            reply = self.endpoint.complete(asked)
            verdict = verdict_in(reply)
            if verdict is not None:
                break
            asked = [*messages, {"role": "assistant", "content": reply}, {"role": "user", "content": _AGAIN}]
        with self._lock:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            with self._kept.open("a") as file:
                file.write(json.dumps({"key": key, "verdict": verdict, "reply": reply}) + "\n")
            self._verdicts[key] = verdict
        return verdict


def messages_for(dialogue: Dialogue, answers: list[str], turn: int | None, ours: Verdict) -> list[Message]:
    """What the judge reads.

    Args:
        dialogue: its answers are those of the other assistant.
        answers: the model's.
        turn: which answers are compared, with those before them for context; None, the whole conversation.
        ours: which assistant the model is.
    """
    last = len(dialogue.turns) - 1 if turn is None else turn
    note = dialogue.turns[last].note
    parts = [f"The picture: {note}"] if note else []
    for number, (asked, answer) in enumerate(zip(dialogue.turns[: last + 1], answers, strict=False), 1):
        a, b = (answer, asked.answer) if ours == "A" else (asked.answer, answer)
        parts += [f"[Question {number}]\n{asked.question}", f"[Answer of A]\n{a}", f"[Answer of B]\n{b}"]
    what = "led the better conversation as a whole" if turn is None else f"answered question {turn + 1} better"
    parts.append(f"Which assistant {what}?")
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": "\n\n".join(parts)}]


def verdict_in(reply: str) -> Verdict | None:
    """The last line of a judge's reply that is a verdict, or a letter alone; None where there is neither."""
    found = _VERDICT.findall(reply) or re.findall(r"\A\W*([AB])\W*\Z", reply)
    return ("A" if found[-1].upper() == "A" else "B") if found else None


def _judged(found: dict[int | None, list[tuple[Verdict | None, Verdict]]]) -> Judged:
    won = {turn: sum(v == ours for v, ours in pairs) / len(pairs) for turn, pairs in found.items()}
    verdicts = [verdict for pairs in found.values() for verdict, _ in pairs]
    turns = tuple(share for turn, share in won.items() if turn is not None)
    return Judged(turns, won[None], verdicts.count(None), len(verdicts))


def _read(path: Path) -> dict[str, Verdict | None]:
    """Verdicts by key; a last line that was cut short is cut away, so that the next one starts a line."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)
    entries = (json.loads(line) for line in whole.splitlines())
    return {entry["key"]: entry["verdict"] for entry in entries}
