"""`pinhole methods`."""

from __future__ import annotations

from typing import Any

from rich.table import Column, Table

from pinhole.commands.output import Output
from pinhole.options import spread


@spread
def methods(output: Output) -> None:
    """List the methods: name, where in the model they act, what they need, settings, paper."""
    from pinhole.method import Learned
    from pinhole.registry import method_class, method_names, settings_of

    rows: list[dict[str, Any]] = []
    for name in method_names():
        kind = method_class(name)
        rows.append(
            {
                "method": name,
                "stage": kind.stage,
                "learned": issubclass(kind, Learned),
                "needs": sorted(kind.needs),
                "settings": settings_of(kind),
                "paper": kind.paper,
            }
        )
    table = Table(*(Column(name, overflow="fold") for name in rows[0]), box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(_shown, row.values()))
    output.give(rows, table)


def _shown(value: str | bool | list[str]) -> str:
    """A cell of the table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ", ".join(value) or "-"
