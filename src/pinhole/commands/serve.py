"""`pinhole serve`."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from pinhole.commands.output import at_fault, say
from pinhole.completion import method_specs
from pinhole.options import ConfigOption, parse_keep

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""The command's context settings: what it does not know is vLLM's."""


def serve(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Checkpoint folder or hub name.")],
    method: Annotated[
        str,
        typer.Option(help="How to reduce the visual tokens, such as metacompress:DIR.", autocompletion=method_specs),
    ],
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
        say(shlex.join(arguments))
        return
    if warning := untested(vllm_version()):
        say(f"warning: {warning}", at_fault)
    os.execv(sys.executable, [sys.executable, "-m", "vllm.entrypoints.cli.main", *arguments[1:]])
