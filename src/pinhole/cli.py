"""The `pinhole` command: parses, calls, prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pinhole import __version__
from pinhole.options import SpreadCommand, parse_keep

console = Console()
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C stopped."""


app = typer.Typer(
    name="pinhole",
    help="Run vision-language models on a tenth of their visual tokens.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[str, typer.Option("--model", help='Checkpoint folder, hub name, or "embedded".')]
DtypeOption = Annotated[str, typer.Option(help="auto (the checkpoint's own), float32, bfloat16 or float16.")]
DeviceOption = Annotated[str | None, typer.Option(help="Such as cuda or cpu; a GPU where there is one.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def load_quietly(model: str, dtype: str, device: str | None, quiet: bool) -> Any:
    """`pinhole.loading.load`, without transformers' progress bar where `quiet`."""
    import transformers

    from pinhole.loading import load

    if quiet:
        transformers.utils.logging.disable_progress_bar()
    return load(model, dtype, device)


def version(show: bool) -> None:
    """Print the version and stop."""
    if show:
        console.print(f"pinhole {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run vision-language models on a tenth of their visual tokens."""


@app.command()
def methods() -> None:
    """List the methods: name, where in the model they act, what they need, settings, paper."""
    from pinhole.method import Learned
    from pinhole.registry import method_class, method_names, settings_of

    table = Table("method", "stage", "learned", "needs", "settings", "paper", box=None, header_style="bold")
    for name in method_names():
        kind = method_class(name)
        learned = "yes" if issubclass(kind, Learned) else "no"
        needs = ", ".join(sorted(kind.needs)) or "-"
        table.add_row(name, kind.stage, learned, needs, ", ".join(settings_of(kind)) or "-", kind.paper)
    console.print(table)


@app.command(cls=SpreadCommand)
def train(
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the log and the checkpoints.")],
    model: ModelOption = "embedded",
    method: Annotated[
        str, typer.Option(help="What to train, such as metacompress:keep=0.1,d_c=64.")
    ] = "metacompress:keep=0.1",
    epochs: Annotated[int, typer.Option(help="Times through the data.")] = 2,
    batch: Annotated[int, typer.Option(help="Dialogues in a step.")] = 16,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    entropy_weight: Annotated[float, typer.Option(help="Weight of the mean row entropy of P.")] = 1.0,
    collapse_weight: Annotated[float, typer.Option(help="Weight of the largest column sum of P.")] = 1.0,
    clip: Annotated[float, typer.Option(help="Largest norm of the gradient.")] = 1e-2,
    seed: Annotated[int, typer.Option(help="Decides the first weights and the order of the data.")] = 0,
    precision: Annotated[str, typer.Option(help="no, or bf16 for mixed precision.")] = "no",
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 100,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    teacher_cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps the teacher's outputs for later epochs.")
    ] = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a learned method on a frozen model: its answers before and after are made to agree."""
    from pinhole.data import read_dialogues
    from pinhole.registry import MethodSpec
    from pinhole.training.loop import train as run
    from pinhole.training.settings import TrainSettings

    settings = TrainSettings(
        epochs=epochs,
        batch=batch,
        lr=lr,
        entropy_weight=entropy_weight,
        collapse_weight=collapse_weight,
        clip=clip,
        seed=seed,
        precision=precision,
        checkpoint_every=checkpoint_every,
    )
    spec = MethodSpec.parse(method)
    dialogues = read_dialogues(data)
    lvlm, processor = load_quietly(model, dtype, device, quiet)
    run(
        lvlm,
        processor,
        spec,
        dialogues,
        out,
        settings,
        resume=resume,
        teacher_cache=teacher_cache,
        show_progress=not quiet,
    )
    console.print(f"saved {spec.name} in {out}; use it as {spec.name}:{out}")


@app.command("eval", cls=SpreadCommand)
def evaluate(
    data: Annotated[
        Path, typer.Option(help="Dialogues: a .jsonl file, a folder with dialogues.jsonl, or a datasets folder.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for results.json and answers.jsonl; a killed run goes on from there.")
    ],
    methods: Annotated[list[str], typer.Option(help="What to compare, such as: full sample metacompress:DIR.")],
    keep: Annotated[
        list[str] | None, typer.Option(help="Shares such as 0.1 or counts such as 64; several give several rows.")
    ] = None,
    model: ModelOption = "embedded",
    history: Annotated[
        str, typer.Option(help="What later turns see: the model's own answers, or the gold ones.")
    ] = "own",
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16,
    batch: Annotated[int, typer.Option(help="Dialogues held at once.")] = 25,
    limit: Annotated[int | None, typer.Option(help="Only the first dialogues.")] = None,
    ttft_dialogues: Annotated[int, typer.Option(help="Dialogues to time the first token on; 0 for none.")] = 20,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Compare methods in dialogues: accuracy with intervals, tokens, FLOPs, KV bytes, time to first token."""
    from pinhole.data import read_dialogues
    from pinhole.evaluation.contender import contenders
    from pinhole.evaluation.evaluate import Names
    from pinhole.evaluation.evaluate import evaluate as run
    from pinhole.evaluation.runner import EvalSettings
    from pinhole.families import family_of
    from pinhole.registry import MethodSpec
    from pinhole.view.table import rich_table

    settings = EvalSettings(history=history, max_new_tokens=max_new_tokens, batch=batch)  # type: ignore[arg-type]
    keeps = [parse_keep(text) for text in keep or ["0.1"]]
    for spec in methods:
        MethodSpec.parse(spec)
    dialogues = read_dialogues(data)[:limit]
    lvlm, processor = load_quietly(model, dtype, device, quiet)
    rivals = contenders(methods, keeps, family_of(lvlm).width)
    results = run(
        lvlm,
        processor,
        rivals,
        dialogues,
        out,
        Names(model, str(data)),
        settings,
        ttft_dialogues=ttft_dialogues,
        show_progress=not quiet,
    )
    console.print(rich_table(results))
    console.print(f"wrote {out / 'results.json'}")


@app.command(cls=SpreadCommand)
def chat(
    image: Annotated[list[Path], typer.Option(help="Pictures to talk about.")],
    model: ModelOption = "embedded",
    method: Annotated[str, typer.Option(help="How to reduce the visual tokens, such as metacompress:DIR.")] = "full",
    keep: Annotated[str, typer.Option(help="A share such as 0.1 or a count such as 64.")] = "0.1",
    question: Annotated[
        list[str] | None, typer.Option(help="Ask this and stop, instead of asking for questions.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 256,
    dtype: DtypeOption = "auto",
    device: DeviceOption = None,
) -> None:
    """Talk about pictures: each is compressed once, every later turn costs its own words only."""
    from pinhole.chat import Chat
    from pinhole.families import family_of
    from pinhole.images import load_image
    from pinhole.registry import MethodSpec

    share, spec = parse_keep(keep), MethodSpec.parse(method)
    pictures = [load_image(path) for path in image]
    lvlm, processor = load_quietly(model, dtype, device, quiet=True)
    conversation = Chat(lvlm, processor, spec.build(family_of(lvlm).width, share), max_new_tokens=max_new_tokens)
    seen = False
    for words in question or typed_questions():
        try:
            for piece in conversation.stream(words, None if seen else list(pictures)):
                console.print(piece, end="", markup=False, highlight=False)
        except ValueError as error:
            if question:
                raise
            console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
            continue
        console.print()
        if not seen:
            for reduction in conversation.reductions:
                console.print(f"({reduction.n} visual tokens, {reduction.m} kept)", style="dim")
        seen = True


def typed_questions() -> Iterator[str]:
    """Lines that the user types, until an empty one or the end of the input."""
    try:
        while words := console.input("[bold]> [/bold]").strip():
            yield words
    except EOFError:
        console.print()


@app.command()
def scenes(
    out: Annotated[Path, typer.Option(help="Folder for dialogues.jsonl and the pictures.")],
    split: Annotated[
        str, typer.Option(help="train, validation or test; they share no scene and no handwriting.")
    ] = "test",
    count: Annotated[int, typer.Option(help="Dialogues.")] = 300,
    turns: Annotated[int, typer.Option(help="Questions in a dialogue, each about different things.")] = 3,
    quiet: QuietOption = False,
) -> None:
    """Write dialogues of the embedded world: pictures of shapes and digits, questions, answers."""
    from pinhole.scenes.dataset import write_dialogues

    path = write_dialogues(out, split, count, turns, show_progress=not quiet)
    console.print(f"wrote {count} dialogues to {path}")


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("out/quickstart"),
    quiet: QuietOption = False,
) -> None:
    """The main job on the embedded LVLM: train MetaCompress at a tenth of the tokens, compare it, write a report."""
    from pinhole.quickstart import run
    from pinhole.view.table import rich_table

    results = run(out, show_progress=not quiet)
    console.print(rich_table(results))
    for name in ("random", "sample", "spatial"):
        lead = results["metacompress_leads"][name]
        low, high = lead["ci95"]
        console.print(
            f"MetaCompress leads {name} by {100 * lead['points']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    console.print(f"open {out / 'report.html'}")


def main() -> None:
    """Run the command; what goes wrong is one message on standard error and an exit code that is not 0."""
    from pinhole.training.distillation import TrainingError

    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            message = "stopped; what is done is kept, and the same command goes on (train: with --resume)"
            Console(stderr=True).print(message)
        raise
    except (ValueError, TypeError, OSError, ImportError, TrainingError) as error:
        if os.environ.get("PINHOLE_DEBUG"):
            raise
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
        sys.exit(1)
