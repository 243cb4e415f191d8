"""A benchmark from contenders to `results.json`; a call that was stopped goes on when it is repeated."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from transformers import PreTrainedModel

from pinhole.benchmark.clock import gpus_of
from pinhole.benchmark.costs import cost_of
from pinhole.benchmark.memory import CANNOT, peak_bytes
from pinhole.benchmark.records import Records
from pinhole.benchmark.results import Measured, summarize
from pinhole.benchmark.rivals import limit
from pinhole.benchmark.subject import Lengths, Subject
from pinhole.benchmark.times import one_dialogue, times_of
from pinhole.budget import Keep
from pinhole.devices import input_device
from pinhole.evaluation.contender import Contender, Match, contenders, parse_specs
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.loading import fingerprint
from pinhole.progress import bars

MEMORY_REPEATS = 3
"""Dialogues at most whose peak of memory is measured."""


@dataclass(frozen=True)
class Compared:
    """What is compared, as a user writes it.

    Attributes:
        methods: specifications.
        keeps: shares or counts.
        match: what a keep means inside the LLM, as for `evaluation.contender.contenders`.
    """

    methods: tuple[str, ...]
    keeps: tuple[Keep, ...]
    match: Match = "keep"


def bench(
    subject: Subject,
    name: str,
    compared: Compared,
    lengths: Lengths,
    out: Path,
    repeats: int = 5,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Measure every contender, and the limit at every keep; writes `measurements.jsonl` and `results.json` in `out`.

    The contenders take turns within each repetition, so that a machine that slows down slows all of them, and each
    repetition starts with another one. Before them each warms up with dialogues whose memory is measured.

    Args:
        subject: what is measured.
        name: what results call it.
        compared: the contenders.
        lengths: of the subject's dialogue.
        out: folder; measurements that it holds already are not taken again.
        repeats: of every measurement of time.
        show_progress: draw a progress bar.

    Returns:
        what `results.json` holds.

    Raises:
        ValueError: a method or setting that there is not, or `out` holds another benchmark.
    """
    if repeats < 1:
        raise ValueError(f"repeats is at least 1, got {repeats}")
    rivals, refused = admitted(subject, compared)
    records = Records(out, _described(subject.model, name, lengths))
    with bars(show_progress) as bar:
        rivals = _passing(rivals, bar, "counting", lambda rival: _count(subject, rival, records))
        for keep in compared.keeps:
            rivals += _limits(subject, rivals, keep, records)
        left = [rival for rival in rivals if len(records.find("time", rival.key)) < repeats]
        _passing(left, bar, "warming up", lambda rival: _warm_up(subject, rival, repeats, records))
        rivals = [rival for rival in rivals if not _refusal(records, rival)]
        work = list(in_turn(rivals, repeats))
        for repeat, rival in bar.track(work, description="measuring"):
            records.measured("time", rival.key, repeat, functools.partial(times_of, subject, rival))
    found = [
        Measured(
            rival,
            records.find("cost", rival.key)[0]["values"],
            [record["values"] for record in records.find("memory", rival.key)],
            [record["values"] for record in records.find("time", rival.key)][:repeats],
        )
        for rival in rivals
    ]
    refused += [{"method": record["method"], "reason": record["reason"]} for record in records.refused()]
    told = {**_described(subject.model, name, lengths), "refused": refused, "rows": summarize(found)}
    told["no_peak"] = CANNOT if any(row["peak_bytes"] is None for row in told["rows"]) else None
    return save(out / "results.json", told)


def admitted(subject: Subject, compared: Compared) -> tuple[list[Contender], list[dict[str, str]]]:
    """The contenders that can be built, ready on the model's device, and those that cannot, with the reason.

    Raises:
        ValueError: a specification that cannot be read.
    """
    for text in compared.methods:
        parse_specs(text)
    found: dict[str, Contender] = {}
    refused = []
    for text in compared.methods:
        try:
            rivals = contenders([text], list(compared.keeps), subject.family.shape, compared.match)
        except (ValueError, TypeError) as error:
            refused.append({"method": text, "reason": str(error)})
            continue
        for rival in rivals:
            found.setdefault(rival.key, rival)
            for method in rival.methods:
                if isinstance(method, torch.nn.Module):
                    method.to(input_device(subject.model))
    return list(found.values()), refused


def in_turn(rivals: Sequence[Contender], repeats: int) -> Iterator[tuple[int, Contender]]:
    """Every contender once in each repetition; each repetition starts with the next one."""
    for repeat in range(repeats):
        start = repeat % max(1, len(rivals))
        for rival in (*rivals[start:], *rivals[:start]):
            yield repeat, rival


def _passing(
    rivals: Sequence[Contender], bar: Progress, what: str, work: Callable[[Contender], bool]
) -> list[Contender]:
    """Those for which `work` says yes."""
    return [rival for rival in bar.track(rivals, description=what) if work(rival)]


def _count(subject: Subject, rival: Contender, records: Records) -> bool:
    return _tried(rival, records, lambda: records.measured("cost", rival.key, 0, lambda: cost_of(subject, rival)))


def _warm_up(subject: Subject, rival: Contender, repeats: int, records: Records) -> bool:
    """Dialogues whose memory is measured, one at least at every start."""
    peak = functools.partial(_peak, subject, rival)
    found = len(records.find("memory", rival.key))
    for repeat in range(found, max(found + 1, min(MEMORY_REPEATS, repeats))):
        if not _tried(rival, records, functools.partial(records.measured, "memory", rival.key, repeat, peak)):
            return False
    return True


def _tried(rival: Contender, records: Records, work: Callable[[], object]) -> bool:
    """Whether `work` could be done; why not is noted."""
    if _refusal(records, rival):
        return False
    try:
        work()
    except (ValueError, torch.OutOfMemoryError) as error:
        records.refuse(rival.key, rival.name, str(error).splitlines()[0])
        return False
    return True


def _refusal(records: Records, rival: Contender) -> bool:
    return bool(records.find("refused", rival.key))


def _limits(subject: Subject, rivals: Sequence[Contender], keep: Keep, records: Records) -> list[Contender]:
    """The limit at a keep; none where nothing was counted, or it is no limit."""
    counted = [records.find("cost", rival.key)[0]["values"] for rival in rivals]
    if not counted or keep == 1.0:
        return []
    rival = limit(counted[0]["visual_tokens"], keep, input_device(subject.model))
    return [rival] if _count(subject, rival, records) else []


def _peak(subject: Subject, rival: Contender) -> dict[str, Any]:
    """The most memory that a dialogue takes above the model's weights, the method's own weights in it."""
    own = [method for method in rival.methods if isinstance(method, torch.nn.Module)]
    weights = sum(parameter.nbytes for method in own for parameter in method.parameters())
    peak = peak_bytes(gpus_of(subject.model), lambda: one_dialogue(subject, rival))
    return {"peak_bytes": None if peak is None else peak + weights}


def _described(model: PreTrainedModel, name: str, lengths: Lengths) -> dict[str, Any]:
    """All that measurements depend on beside the contender."""
    return {
        "model": name,
        "weights": fingerprint(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": input_device(model).type,
        "attention": model.config._attn_implementation,
        "dialogue": asdict(lengths),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }
