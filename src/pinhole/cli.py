"""The `pinhole` command: its commands are in `pinhole.commands`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from pinhole import __version__
from pinhole.commands import data
from pinhole.commands.bench import bench
from pinhole.commands.bench_serve import bench_serve
from pinhole.commands.chat import chat
from pinhole.commands.choose import choose
from pinhole.commands.compare import compare
from pinhole.commands.demo import demo
from pinhole.commands.evaluate import evaluate
from pinhole.commands.label import label
from pinhole.commands.methods import methods
from pinhole.commands.output import at_fault, console, say
from pinhole.commands.overlap import overlap
from pinhole.commands.quickstart import quickstart
from pinhole.commands.scenes import scenes
from pinhole.commands.serve import PASS_ON, serve
from pinhole.commands.train import train
from pinhole.commands.view import view
from pinhole.commands.vtw_search import vtw_search
from pinhole.options import SpreadCommand
from pinhole.training.error import TrainingError

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
app.command()(methods)
app.command(cls=SpreadCommand)(train)
app.command("eval", cls=SpreadCommand)(evaluate)
app.command(cls=SpreadCommand)(chat)
app.command(cls=SpreadCommand)(demo)
app.command(cls=SpreadCommand)(compare)
app.command(cls=SpreadCommand)(choose)
app.command()(label)
app.command("vtw-search")(vtw_search)
app.command()(overlap)
app.command(cls=SpreadCommand)(view)
app.add_typer(data.app, name="data")
app.command(cls=SpreadCommand)(scenes)
app.command()(quickstart)
app.command(cls=SpreadCommand)(bench)
app.command(context_settings=PASS_ON)(serve)
app.command("bench-serve", cls=SpreadCommand)(bench_serve)


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


def told(error: Exception) -> str:
    """What went wrong; where the system says no more than that a file is not a folder, what to do."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{error.filename}: a file is in the way of a folder: give another --out, or move the file"
    return str(error)


def main() -> None:
    """Run the command; what goes wrong is one message on standard error and an exit code that is not 0."""
    try:
        app()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            say("stopped; what is done is kept, and the same command goes on (train: with --resume)", at_fault)
        raise
    except (ValueError, TypeError, OSError, ImportError, TrainingError) as error:
        if os.environ.get("PINHOLE_DEBUG"):
            raise
        say(f"error: {told(error)}", at_fault)
        sys.exit(1)
