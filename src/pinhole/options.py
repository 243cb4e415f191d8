"""What the command line reads: options that take several values at once, shares and counts."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from pinhole.budget import Keep, check_keep


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


def parse_keep(text: str) -> Keep:
    """A share such as 0.1 (with a point) or a count such as 64 (without)."""
    try:
        return check_keep(float(text) if "." in text or "e" in text.lower() else int(text))
    except ValueError as error:
        reason = str(error) if "keep" in str(error) else "not a number"
        raise ValueError(f"--keep {text}: {reason}; give a share such as 0.1 or a count such as 64") from error
