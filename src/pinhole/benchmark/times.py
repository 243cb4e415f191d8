"""One repetition of one contender: how long every part of a dialogue takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from pinhole.benchmark.clock import Clock, TokenTimes, gpus_of
from pinhole.benchmark.prefill import decide_all, encode, prefill
from pinhole.benchmark.subject import Subject
from pinhole.evaluation.contender import Contender
from pinhole.families.parts import Visual
from pinhole.session import Session


@torch.no_grad()
def times_of(subject: Subject, contender: Contender) -> dict[str, float]:
    """Milliseconds, each by its own run:

    - `encoder`: encoder and projector, noting the cues that the method reads there.
    - `method`: the rest of its own work: cues of the prompt, the decision and P X; inside the LLM, its decisions.
    - `ttft`: from the processor's output to the first token.
    - `token`: every later token of the first answer.
    - `turn`: from the processor's output to the end of the first answer.
    - `later_ttft`: as `ttft`, mean over the later turns, which read their own words only.
    - `dialogue`: all turns, the KV cache kept.
    - `dialogue_without_reuse`: all turns, each of which reads the picture and everything that was said anew.
    """
    clock = Clock(gpus_of(subject.model))
    visuals: list[Visual] = []
    encoder = clock.seconds(lambda: visuals.extend(encode(subject, contender.plan)))
    own = clock.seconds(lambda: decide_all(subject, contender.plan, visuals)) + _inside(subject, contender, clock)
    visuals.clear()

    turns = one_dialogue(subject, contender)
    first, *later = turns
    anew = [first]
    for turn in range(1, subject.turns):
        session = Session(subject.model, contender.methods)
        anew.append(_ask(session, clock, subject.whole(turn), subject.answer))
    seconds = {
        "encoder": encoder,
        "method": own,
        "ttft": first["ttft"],
        "token": first["token"],
        "turn": first["turn"],
        "dialogue": sum(turn["turn"] for turn in turns),
        "dialogue_without_reuse": sum(turn["turn"] for turn in anew),
    }
    if later:
        seconds["later_ttft"] = sum(turn["ttft"] for turn in later) / len(later)
    return {name: 1000 * value for name, value in seconds.items()}


@torch.no_grad()
def one_dialogue(subject: Subject, contender: Contender) -> list[dict[str, float]]:
    """Seconds of every turn, the KV cache kept: to the first token, of every later one, and of the whole turn."""
    session, clock = Session(subject.model, contender.methods), Clock(gpus_of(subject.model))
    return [_ask(session, clock, inputs, subject.answer) for inputs in (subject.first, *subject.later)]


def _ask(session: Session, clock: Clock, inputs: dict[str, Any], tokens: int) -> dict[str, float]:
    """Seconds of one turn."""
    streamer = TokenTimes(clock)
    start = clock.now()
    session.ask(inputs, streamer=streamer, **_generating(tokens))
    end = clock.now()
    first, last = streamer.at[0], streamer.at[-1]
    return {"ttft": first - start, "token": (last - first) / (tokens - 1), "turn": end - start}


def _generating(tokens: int) -> dict[str, Any]:
    return {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}


def _inside(subject: Subject, contender: Contender, clock: Clock) -> float:
    """Seconds that a method inside the LLM takes to decide in one prefill; 0 where there is none."""
    if contender.plan.layer is None:
        return 0.0
    taken: list[float] = []

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        start = clock.now()
        yield
        taken.append(clock.now() - start)

    prefill(subject, contender.plan, around)
    return sum(taken)
