"""Options of the command line that take several values at once."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class SpreadCommand(TyperCommand):
    """Lets an option that may be repeated take several values at once: `--methods full sample random`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option's name before each of its values."""
        repeatable = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        option: str | None = None
        fresh = False
        for arg in args:
            if arg.startswith("--"):
                option = arg if arg in repeatable else None
                fresh = True
            elif option and not fresh:
                spread.append(option)
            else:
                fresh = False
            spread.append(arg)
        return super().parse_args(ctx, spread)
