"""`pinhole serve`."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from pinhole.options import ConfigOption, console, parse_keep

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""The command's context settings: what it does not know is vLLM's."""


def serve(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Checkpoint folder or hub name.")],
    method: Annotated[str, typer.Option(help="How to reduce the visual tokens, such as metacompress:DIR.")],
    keep: Annotated[str, typer.Option(help="A share such as 0.1 or a count such as 64.")] = "0.1",
    show: Annotated[
        bool, typer.Option("--print", help="Print the command for vLLM, and stop: for other nodes, or to add to.")
    ] = False,
    _config: ConfigOption = None,
) -> None:
    """Start vLLM's server with fewer visual tokens. Options that are not listed here are vLLM's and go to it."""
    from pinhole.serving import untested
    from pinhole.serving.command import command, vllm_version
    from pinhole.serving.settings import Settings

    arguments = command(model, Settings(method, parse_keep(keep)), context.args)
    if show:
        console.print(shlex.join(arguments), markup=False, highlight=False, soft_wrap=True)
        return
    if warning := untested(vllm_version()):
        typer.echo(f"warning: {warning}", err=True)
    os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.cli.main", *arguments[1:]])
