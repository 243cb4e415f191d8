"""The options of `pinhole eval` that run lmms-eval's benchmarks in the place of dialogues."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from pinhole.commands.holding import Holding
from pinhole.commands.output import Output
from pinhole.commands.untrained import tell_untrained
from pinhole.options import Checkpoint, Reading, parse_keep


@dataclass(frozen=True)
class LmmsEval:
    """Which benchmarks, and where they are."""

    tasks: Annotated[
        list[str] | None, typer.Option(help="Instead of --data: lmms-eval's benchmarks, such as lmms:mmstar lmms:mme.")
    ] = None
    include: Annotated[Path | None, typer.Option(help="Folder with lmms-eval tasks of your own.")] = None

    def check(self, data: Path | None) -> None:
        """Refuse to run both benchmarks and the dialogues in `data`, or neither.

        Raises:
            ValueError: both, or neither.
        """
        if (data is None) == (not self.tasks):
            raise ValueError("give either --data with dialogues or --tasks with benchmarks such as lmms:mmstar")

    def run(
        self,
        checkpoint: Checkpoint,
        reading: Reading,
        holding: Holding,
        methods: list[str],
        keeps: list[str],
        match: str,
        limit: int | None,
        out: Path,
        output: Output,
    ) -> None:
        """Run them and print what they found, or where it is.

        Raises:
            ValueError: an option that only dialogues have, or that cannot be used.
        """
        from pinhole.lmms.run import Benchmarks, run

        if match != "keep" or holding != Holding(batch=holding.batch, frames=holding.frames):
            raise ValueError("--match, --history and --max-new-tokens are for dialogues: leave them out with --tasks")
        reading.scope()
        for keep in keeps:
            parse_keep(keep)
        tell_untrained(methods, output)
        loading = asdict(checkpoint)
        options = {"pretrained": loading.pop("model"), **loading, **asdict(reading), "frames": holding.frames}
        benchmarks = Benchmarks(tuple(self.tasks or ()), holding.batch, limit, self.include)
        found = run(benchmarks, methods, keeps, options, out)
        output.give(found, f"wrote {out / 'lmms.json'}")
