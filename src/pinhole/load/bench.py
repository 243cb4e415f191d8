"""The same dialogues against several servers in turn; `results.json`."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pinhole.benchmark.records import Records
from pinhole.data import Dialogue, digest
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.load.client import OK, Answers, connected
from pinhole.load.messages import script
from pinhole.load.metrics import Watched, watched
from pinhole.load.play import Request, play
from pinhole.load.servers import Server
from pinhole.load.summary import Round, ratios, summarize
from pinhole.progress import bars

WARM_UP = 2
"""Dialogues that a server answers before it is measured."""


@dataclass(frozen=True)
class Load:
    """How much is asked, and how fast.

    Attributes:
        concurrency: dialogues at once.
        rounds: loads on each server, in turn.
        limit_s: seconds after which a round ends, whatever is still open.
        answers: what is asked for.

    Raises:
        ValueError: one of them is not positive.
    """

    concurrency: int = 8
    rounds: int = 3
    limit_s: float = 300.0
    answers: Answers = field(default_factory=Answers)

    def __post_init__(self) -> None:
        counts = {"concurrency": self.concurrency, "rounds": self.rounds, "tokens": self.answers.tokens}
        times = {"time limit": self.limit_s, "timeout": self.answers.timeout_s}
        for name, value in {**counts, **times}.items():
            if not value > 0:
                raise ValueError(f"the {name} of a load is positive, got {value}")


Pictured = list[tuple[Dialogue, list[Image.Image]]]


def bench_serve(
    servers: list[Server], dialogues: list[Dialogue], data: str, load: Load, out: Path, show_progress: bool = True
) -> dict[str, Any]:
    """Measure every server with the same dialogues, in turn within each round; each round starts with the next one.

    Writes into `out`: every request as it ends (`requests/NAME-ROUND.jsonl`), every finished round
    (`measurements.jsonl`), and `results.json`. A round that was stopped is played anew, finished ones are not.

    Args:
        servers: they are running; the others are compared with the first.
        dialogues: of the load. No cache of a server helps with them but within a dialogue: their pictures are marked
            anew whenever they are played.
        data: what results call the dialogues.
        load: how much, and how fast.
        out: folder.
        show_progress: draw a progress bar.

    Returns:
        what `results.json` holds.

    Raises:
        ValueError: a server or a picture that cannot be used, or `out` holds another benchmark.
    """
    pictured = [(dialogue, dialogue.load_images()) for dialogue in dialogues]
    models = {server.name: asyncio.run(_model(server, load.answers)) for server in servers}
    about = {
        "servers": [{**asdict(server), "model": models[server.name]} for server in servers],
        "data": {"name": data, "dialogues": len(dialogues), "digest": digest(dialogues)},
        "load": asdict(load),
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(),
    }
    records = Records(out, about)
    (out / "requests").mkdir(exist_ok=True)
    turns = [(i, servers[(i + j) % len(servers)]) for i in range(load.rounds) for j in range(len(servers))]
    left = [(i, server) for i, server in turns if not records.find("round", server.name, i)]
    with bars(show_progress) as bar:
        task = bar.add_task("asking", total=len(left) * sum(len(dialogue.turns) for dialogue in dialogues))
        for server in servers:
            if any(server == other for _, other in left):
                asyncio.run(_warm_up(server, pictured[:WARM_UP], load.answers))
        for i, server in left:
            path = _requests_path(out, server, i)
            told = functools.partial(bar.advance, task)
            records.measured("round", server.name, i, functools.partial(_measure, server, pictured, load, path, told))
    rows = [{**asdict(server), "model": models[server.name], **_row(out, records, server)} for server in servers]
    compared = [{**row, "to_first": ratios(rows[0], row)} for row in rows]
    return save(out / "results.json", {**about, "rows": compared})


async def _model(server: Server, answers: Answers) -> str:
    async with connected(server.url, answers) as client:
        return client.model


async def _warm_up(server: Server, pictured: Pictured, answers: Answers) -> None:
    """First turns that are not measured: what is compiled or read at first is not a server's everyday."""
    async with connected(server.url, answers) as client:
        for dialogue, images in pictured:
            reply = await client.ask(script(dialogue, images).messages([]))
            if reply.status != OK:
                raise ValueError(f"{server.name} cannot answer dialogue {dialogue.id}: {reply.status} {reply.reason}")


def _measure(server: Server, pictured: Pictured, load: Load, path: Path, told: Callable[[], None]) -> dict[str, Any]:
    """One round: its requests go to `path`, its time and what the server told of itself are returned."""
    scripts = [script(dialogue, images) for dialogue, images in pictured]
    with path.open("w") as file:

        def write(request: Request) -> None:
            file.write(json.dumps(asdict(request)) + "\n")
            file.flush()
            told()

        async def played() -> tuple[float, Watched]:
            async with connected(server.url, load.answers) as client:
                return await watched(server.url, play(client, scripts, load.concurrency, load.limit_s, write))

        seconds, seen = asyncio.run(played())
    return {"seconds": seconds, "watched": asdict(seen)}


def _requests_path(out: Path, server: Server, number: int) -> Path:
    return out / "requests" / f"{server.name}-{number}.jsonl"


def _row(out: Path, records: Records, server: Server) -> dict[str, Any]:
    rounds = []
    for record in records.find("round", server.name):
        lines = _requests_path(out, server, record["repeat"]).read_text().splitlines()
        values, requests = record["values"], [Request(**json.loads(line)) for line in lines]
        rounds.append(Round(values["seconds"], requests, Watched(**values["watched"])))
    return summarize(rounds)
