"""`pinhole bench-serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.options import spread


@spread
def bench_serve(
    output: Output,
    url: Annotated[
        list[str],
        typer.Option(help="A running server as NAME=http://127.0.0.1:8000; several are compared with the first."),
    ],
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for results.json and table.md; a stopped run goes on from there.")],
    dialogues: Annotated[int, typer.Option(help="Only the first dialogues.", min=1)] = 32,
    concurrency: Annotated[int, typer.Option(help="Dialogues at once.")] = 8,
    rounds: Annotated[int, typer.Option(help="Loads on each server, in turn.")] = 3,
    tokens: Annotated[int, typer.Option(help="Tokens of every answer.")] = 16,
    fixed_length: Annotated[
        bool, typer.Option(help="Every answer has all its tokens (ignore_eos), or ends where the model ends it.")
    ] = True,
    time_limit: Annotated[float, typer.Option(help="Seconds after which a round ends.")] = 300.0,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.")] = 120.0,
    remote: Annotated[bool, typer.Option("--remote", help="Servers on other machines may be asked.")] = False,
) -> None:
    """Measure running servers with the same dialogues: requests and tokens per second, first token, KV cache."""
    from pinhole.data import read_dialogues
    from pinhole.load.bench import Load
    from pinhole.load.bench import bench_serve as run
    from pinhole.load.client import Answers
    from pinhole.load.servers import parse_servers
    from pinhole.load.table import errors, table
    from pinhole.view.table import as_markdown, as_rich

    servers = parse_servers(url, remote)
    load = Load(concurrency, rounds, time_limit, Answers(tokens, fixed_length, timeout))
    chosen = read_dialogues(data)[:dialogues]
    results = run(servers, chosen, str(data), load, out, show_progress=output.progress)
    shown, lines = table(results), errors(results)
    output.give(results, as_rich(shown), *lines)
    (out / "table.md").write_text("\n\n".join([as_markdown(shown), *lines]) + "\n")
    output.tell(f"wrote {out / 'results.json'} and {out / 'table.md'}")
