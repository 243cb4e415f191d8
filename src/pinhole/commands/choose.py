"""`pinhole choose`."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinhole.commands.holding import Holding
from pinhole.commands.output import Output
from pinhole.completion import among, method_specs
from pinhole.options import Checkpoint, Reading, parse_keep, spread

if TYPE_CHECKING:
    from pinhole.choose.bounds import Bounds
    from pinhole.choose.settings import SearchSettings


@dataclass(frozen=True)
class Searched:
    """What is asked of a setting, what is searched, and how."""

    max_loss: Annotated[
        str | None, typer.Option(help="Accuracy that may be lost: 0.01, or 1% for percentage points.")
    ] = None
    max_ttft: Annotated[str | None, typer.Option(help="Median time to the first token, such as 150ms.")] = None
    confidence: Annotated[float, typer.Option(help="That the setting loses no more than --max-loss.")] = 0.95
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="What to search, such as: divprune visionzip metacompress:DIR; unset, "
            "every method that needs no training.",
            autocompletion=method_specs,
        ),
    ] = None
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64; unset, 0.5 0.25 0.1 0.05.")
    ] = None
    cost: Annotated[
        str,
        typer.Option(
            help="What is cheap: flops, or ttft, the time to the first token.", autocompletion=among("flops", "ttft")
        ),
    ] = "flops"
    first: Annotated[int, typer.Option(help="Dialogues of the first look; each later one has twice as many.")] = 16
    ttft_dialogues: Annotated[int, typer.Option(help="Dialogues to time the first token on.")] = 20
    seed: Annotated[int, typer.Option(help="Of the order in which dialogues are held.")] = 0

    def settings(self) -> SearchSettings:
        """These as settings of a search.

        Raises:
            ValueError: a value that is not allowed.
        """
        from pinhole.choose.bounds import Bounds, parse_loss, parse_ms
        from pinhole.choose.candidates import KEEPS, default_methods
        from pinhole.choose.settings import SearchSettings

        loss = None if self.max_loss is None else parse_loss(self.max_loss)
        bounds = Bounds(loss, None if self.max_ttft is None else parse_ms(self.max_ttft), self.confidence)
        keeps = tuple(parse_keep(text) for text in self.keep) if self.keep else KEEPS
        methods = tuple(self.methods or default_methods())
        return SearchSettings(
            methods,
            keeps,
            bounds,
            self.cost,  # type: ignore[arg-type]
            self.first,
            self.ttft_dialogues,
            self.seed,
        )


@spread
def choose(
    checkpoint: Checkpoint,
    reading: Reading,
    holding: Holding,
    searched: Searched,
    output: Output,
    data: Annotated[
        Path,
        typer.Option(help="Dialogues of your own: a .jsonl file, or a folder that holds them, built or of datasets."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for choice.json, choose.json and the answers; a killed run goes on from there.")
    ],
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.", min=1)] = None,
) -> None:
    """Find the cheapest setting that holds a bound on your dialogues, and write it for --config of other commands."""
    from pinhole.choose.choice import write_choice
    from pinhole.choose.search import search
    from pinhole.choose.table import choice_table, left_out
    from pinhole.data import read_dialogues
    from pinhole.evaluation.evaluate import Names
    from pinhole.launch import Share

    asked = searched.settings()
    settings = holding.settings(reading.scope())
    dialogues = read_dialogues(data, videos=True)[:limit]
    lvlm, processor = checkpoint.load(output.progress)
    if Share.of_launch(lvlm).count > 1:
        raise ValueError("pinhole choose works in one process: start it without accelerate launch or torchrun")
    results = search(
        lvlm,
        processor,
        dialogues,
        out,
        Names(checkpoint.model, str(data)),
        asked,
        settings,
        tell=functools.partial(output.tell, style="dim"),
        show_progress=output.progress,
    )
    best = results["chosen"]
    output.give(results, choice_table(results), *left_out(results), *([why(best, asked.bounds)] if best else []))
    if best is None:
        raise ValueError(nothing_holds(results, asked.bounds, out))
    write_choice(out / "choice.json", options_of(best, checkpoint, reading), evidence_of(results))
    output.tell(f"wrote {out / 'choice.json'}: eval, chat and serve take it as --config")


def options_of(row: dict[str, Any], checkpoint: Checkpoint, reading: Reading) -> dict[str, Any]:
    """The options that make this setting: the model, the method, and what is not at its default."""
    chosen = {"model": checkpoint.model, "method": row["method"]} | (
        {} if row["keep"] is None else {"keep": row["keep"]}
    )
    given = {**asdict(checkpoint), **asdict(reading)}
    defaults = {**asdict(Checkpoint()), **asdict(Reading())}
    names = ("dtype", "attention", "quantize", "positions", "video_scope", "separators")
    return chosen | {name: given[name] for name in names if given[name] != defaults[name]}


def evidence_of(results: dict[str, Any]) -> dict[str, Any]:
    """Why this setting was chosen."""
    names = ("accuracy", "loss", "loss_at_most", "dialogues", "ttft_ms")
    row = results["chosen"]
    told = {name: row[name] for name in names} | {"flops_of_full": row["flops"] / results["full"]["flops"]}
    return {"asked": results["asked"], **told, **{name: results[name] for name in ("data", "commit")}}


def why(row: dict[str, Any], bounds: Bounds) -> str:
    """The choice in a sentence."""
    from pinhole.choose.table import setting_label

    name = setting_label(row)
    if bounds.max_loss is None:
        return f"{name} is the most accurate that is fast enough: {100 * row['accuracy']:.1f} % of the turns are right"
    return (
        f"{name} is the cheapest that holds: at {100 * bounds.confidence:g} % confidence it loses at most "
        f"{100 * min(row['loss_at_most'], bounds.max_loss):.1f} points ({100 * row['loss']:.1f} on {row['dialogues']} "
        "dialogues)"
    )


def nothing_holds(results: dict[str, Any], bounds: Bounds, out: Path) -> str:
    """What is said where no setting holds."""
    from pinhole.choose.table import setting_label

    near, asked = results["nearest"], 100 * (bounds.max_loss or 0)
    return (
        f"no setting is shown to lose at most {asked:g} points; the nearest is {setting_label(near)}, which lost "
        f"{100 * near['loss']:.1f} on {near['dialogues']} dialogues and is shown to lose at most "
        f"{100 * near['loss_at_most']:.1f}: allow that, or go on with more dialogues; all is in {out / 'choose.json'}"
    )
