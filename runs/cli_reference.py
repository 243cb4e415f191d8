"""Writes docs/reference/cli.md: every command and its options, from their own help.

python runs/cli_reference.py
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from pinhole.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"


def page() -> str:
    """docs/reference/cli.md."""
    command = typer.main.get_command(app)
    context = command.make_context("pinhole", [], resilient_parsing=True)
    written = get_docs_for_click(obj=command, ctx=context, name="pinhole", title="Command line")
    return written.rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
