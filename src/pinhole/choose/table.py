"""The settings of a search as a table, cheapest first."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from pinhole.view.cells import percent, points

Row = dict[str, Any]

STATES = {
    "holds": "holds",
    "loses": "loses more",
    "beaten": "beaten",
    "dearer": "no cheaper",
    "open": "undecided",
}


def setting_label(row: Row) -> str:
    """A setting as it is written on the command line."""
    return row["method"] if row["keep"] is None else f"{row['method']} at keep {row['keep']}"


def left_out(results: dict[str, Any]) -> list[str]:
    """What was not compared, a line each: what cannot be used on this model, and what is too slow."""
    refused = [f"left out: {one['method']}: {one['reason']}" for one in results["refused"]]
    slow = [f"too slow: {setting_label(one)}: {one['ttft_ms']:.1f} ms to the first token" for one in results["slow"]]
    return refused + slow


def choice_table(results: dict[str, Any]) -> Table:
    """Every setting that was held, cheapest first; those on the Pareto front are marked, the chosen one is bold."""
    cost = {"flops": "flops", "ttft": "ttft_ms"}[results["asked"]["cost"]]
    full = results["full"]["flops"]
    states = STATES if results["asked"]["max_loss"] is not None else {**STATES, "open": "not beaten"}
    table = Table(box=None, header_style="bold", caption="* on the Pareto front of cost and loss")
    heads = ["", "setting", "FLOPs", "first token", "dialogues", "loss [95 %]", "at most", ""]
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i in (0, 1, len(heads) - 1) else "right")
    for row in sorted(results["rows"], key=lambda row: (row[cost], row["loss"])):
        table.add_row(
            "*" if row["on_front"] else "",
            Text(setting_label(row)),
            percent(row["flops"] / full),
            "–" if row["ttft_ms"] is None else f"{row['ttft_ms']:.1f} ms",
            str(row["dialogues"]),
            Text("{} [{}, {}]".format(*map(points, (row["loss"], *row["ci95"])))),
            points(row["loss_at_most"]),
            states[row["state"]],
            style="bold" if results["chosen"] and row["contender"] == results["chosen"]["contender"] else None,
        )
    return table
