"""`pinhole eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinhole.commands.benchmarks import LmmsEval
from pinhole.commands.engine import Engines
from pinhole.commands.holding import Holding
from pinhole.commands.judging import Judging
from pinhole.commands.output import Output
from pinhole.commands.reporting import write_beside
from pinhole.commands.untrained import tell_untrained
from pinhole.completion import method_specs
from pinhole.options import Checkpoint, ConfigOption, MatchOption, Reading, parse_keep, spread

if TYPE_CHECKING:
    from pinhole.data import Dialogue


@spread
def evaluate(
    checkpoint: Checkpoint,
    reading: Reading,
    holding: Holding,
    engines: Engines,
    judging: Judging,
    lmms: LmmsEval,
    output: Output,
    out: Annotated[Path, typer.Option(help="Folder for results, answers and report; a killed run goes on from there.")],
    methods: Annotated[
        list[str],
        typer.Option(
            help="Such as: full sample fastv:layer=2 sample+fastv metacompress:DIR.", autocompletion=method_specs
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="Dialogues: a .jsonl file, or a built or datasets folder.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64; several give several rows.")
    ] = None,
    match: MatchOption = "keep",
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.", min=1)] = None,
    ttft_dialogues: Annotated[int, typer.Option(help="Dialogues to time the first token on; none with vllm.")] = 20,
    _config: ConfigOption = None,
) -> None:
    """Compare methods in dialogues: accuracy with intervals, tokens, FLOPs, KV bytes, time to first token."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation import evaluate as evaluation
    from pinhole.evaluation.contender import contenders, parse_specs
    from pinhole.families import family_of

    lmms.check(data)
    engines.check(checkpoint, reading, match, data)
    if data is None:
        lmms.run(checkpoint, reading, holding, methods, keep or ["0.1"], match, limit, out, output)
        return
    settings = holding.settings(reading.scope())
    keeps = [parse_keep(text) for text in keep or ["0.1"]]
    for spec in methods:
        parse_specs(spec)
    dialogues = read_dialogues(data, videos=True)[:limit]
    judge = judging.judge_in(out)
    with engines.load(checkpoint, reading, dialogues, output.progress) as (lvlm, processor, engine, share):
        if share.rank == 0:
            tell_untrained(methods, output)
        rivals = contenders(methods, keeps, family_of(lvlm).shape, match)  # type: ignore[arg-type]
        results = evaluation.evaluate(
            lvlm,
            processor,
            rivals,
            dialogues,
            out,
            evaluation.Names(checkpoint.model, str(data)),
            settings,
            ttft_dialogues=ttft_dialogues,
            share=share,
            judge=judge,
            engine=engine,
            show_progress=output.progress,
        )
    if share.rank == 0:
        _tell(results, dialogues, out, output)


def _tell(results: dict[str, Any], dialogues: list[Dialogue], out: Path, output: Output) -> None:
    """Print what came out, and write the report beside it."""
    from pinhole.evaluation.answers import read_answers
    from pinhole.view.hardest import hardest
    from pinhole.view.report import write_report
    from pinhole.view.table import rich_table

    output.give(results, rich_table(results))
    output.tell(f"wrote {out / 'results.json'}")
    write_beside(
        out / "report.html",
        lambda page: write_report(page, results, hard=hardest(results, dialogues, read_answers(out / "answers.jsonl"))),
        output,
    )
