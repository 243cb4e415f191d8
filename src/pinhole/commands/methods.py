"""`pinhole methods`."""

from __future__ import annotations

from rich.table import Table

from pinhole.options import console


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
