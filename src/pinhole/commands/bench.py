"""`pinhole bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.output import Output
from pinhole.commands.reporting import write_beside
from pinhole.completion import ARCHITECTURES, among, method_specs
from pinhole.options import AttentionOption, Checkpoint, DeviceOption, DtypeOption, MatchOption, parse_keep, spread
from pinhole.progress import busy


@spread
def bench(
    output: Output,
    methods: Annotated[
        list[str],
        typer.Option(
            help="What to compare, such as: full sample metacompress fastv:layer=2 sample+fastv.",
            autocompletion=method_specs,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for results.json, tables.md and report.html; a stopped run goes on from there.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="An architecture with random weights (llava-1.5-7b, llava-1.5-13b, llava-next-7b, llava-onevision-7b, "
            "qwen2-vl-7b, tiny), its LLM cut as in llava-1.5-7b:layers=2; or a folder, a hub name, or embedded.",
            autocompletion=among(*ARCHITECTURES, "embedded"),
        ),
    ],
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64; several give several rows.")
    ] = None,
    match: MatchOption = "keep",
    turns: Annotated[int, typer.Option(help="Questions in the dialogue.")] = 3,
    text: Annotated[int, typer.Option(help="Text tokens of the first question's prompt.")] = 64,
    later: Annotated[int, typer.Option(help="Tokens of every later question.")] = 24,
    tokens: Annotated[int, typer.Option(help="Tokens of every answer.")] = 16,
    repeats: Annotated[int, typer.Option(help="Repetitions, after one dialogue that warms up.")] = 5,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    attention: AttentionOption = None,
) -> None:
    """Measure time, memory and FLOPs of methods in a dialogue, on real weights or on none."""
    from pinhole.benchmark.page import write_page
    from pinhole.benchmark.run import Compared
    from pinhole.benchmark.run import bench as run
    from pinhole.benchmark.subject import Lengths, subject_of_checkpoint, subject_of_shape
    from pinhole.benchmark.table import refusals, tables
    from pinhole.view.table import as_markdown, as_rich

    lengths = Lengths(turns, text, later, tokens)
    keeps = tuple(parse_keep(text) for text in keep or ["0.1"])
    compared = Compared(tuple(methods), keeps, match)  # type: ignore[arg-type]
    with busy(f"building {model}", output.progress):
        subject = subject_of_shape(model, lengths, dtype, device, attention)
    if subject is None:
        lvlm, processor = Checkpoint(model, dtype, device, attention=attention).load(output.progress)
        subject = subject_of_checkpoint(lvlm, processor, lengths)
    results = run(subject, model, compared, lengths, out, repeats, show_progress=output.progress)
    shown, lines = tables(results), refusals(results)
    parts = [part for title, table in shown.items() for part in (f"\n{title}\n", as_rich(table))]
    output.give(results, *parts, *lines)
    told = [part for title, table in shown.items() for part in (f"## {title}", as_markdown(table))]
    (out / "tables.md").write_text("\n\n".join(told + lines) + "\n")
    output.tell(f"wrote {out / 'results.json'} and {out / 'tables.md'}")
    write_beside(out / "report.html", lambda page: write_page(page, results), output)
