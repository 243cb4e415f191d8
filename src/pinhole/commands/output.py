"""What commands print: the result on standard output, for people or as JSON, and the rest in nobody's way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

console = Console()
at_fault = Console(stderr=True)


@dataclass(frozen=True)
class Output:
    """The options that every command has, and what they mean.

    Attributes:
        quiet: nothing but the result and errors.
        as_json: the result is one line of JSON, all that standard output gets.
    """

    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars and no messages: only the result.")] = False
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and messages on standard error.")
    ] = False

    @property
    def progress(self) -> bool:
        """Whether progress bars are wanted."""
        return not (self.quiet or self.as_json)

    def give(self, document: Any, *shown: RenderableType) -> None:
        """Print the result.

        Args:
            document: as JSON.
            shown: the same for people; text is printed as it is, a line each.
        """
        if self.as_json:
            typer.echo(json.dumps(document))
            return
        for part in shown:
            if isinstance(part, str):
                say(part)
            else:
                console.print(part)

    def tell(self, text: str, style: str | None = None) -> None:
        """Print a message that is not the result."""
        if not self.quiet:
            say(text, at_fault if self.as_json else console, style)


def say(text: str, on: Console = console, style: str | None = None) -> None:
    """Print text as it is: no markup, and no line is broken, so that paths can be copied."""
    on.print(text, markup=False, highlight=False, soft_wrap=True, style=style)
