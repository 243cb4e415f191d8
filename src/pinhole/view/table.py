"""The results as a table: in Markdown for pages, in colour for the terminal, as plain cells for the report."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from pinhole.view.cells import NONE, Row, cells, columns, count, full_row, has_recovery, labels, percent, share_kept


@dataclass(frozen=True)
class Table:
    """Formatted cells under their headings.

    Attributes:
        header: the headings.
        groups: the rows, those of one `keep` together.
    """

    header: list[str]
    groups: list[list[list[str]]]


def result_table(results: dict[str, Any]) -> Table:
    """Every row's accuracy and cost; larger `keep` first, so the uncompressed model leads.

    Raises:
        ValueError: the results have no rows.
    """
    rows = _rows(results)
    full, names, recovers = full_row(rows), labels(rows), has_recovery(rows)
    pairs = sorted(zip(rows, names, strict=True), key=lambda pair: -share_kept(pair[0]))
    grouped = itertools.groupby(pairs, key=lambda pair: share_kept(pair[0]))
    return Table(columns(rows), [[cells(row, name, full, recovers) for row, name in group] for _, group in grouped])


def kind_table(results: dict[str, Any], by: Literal["by_kind", "by_size"] = "by_kind") -> Table:
    """Every row's accuracy by kind of question, or by the size of the object that the answer is about.

    Rows are in the order of `result_table`, kinds as they first come up.
    """
    return _share_table(results, lambda row: row.get(by, {}))


def win_table(results: dict[str, Any]) -> Table:
    """What a judge says of every row: comparisons won by level, over turns, of whole conversations, and their mean."""
    return _share_table(results, _win_rates)


def _win_rates(row: Row) -> dict[str, float]:
    told = row.get("win_rate")
    if told is None:
        return {}
    means = {"All turns": told["turns"], "Conversations": told["overall"], "Score": told["score"]}
    return {name: rate / 100 for name, rate in {**told["levels"], **means}.items()}


def _share_table(results: dict[str, Any], shares: Callable[[Row], dict[str, float]]) -> Table:
    """A column for each share that any row has; rows in the order of `result_table`."""
    rows = _rows(results)
    names = list(dict.fromkeys(name for row in rows for name in shares(row)))
    pairs = sorted(zip(rows, labels(rows), strict=True), key=lambda pair: -share_kept(pair[0]))
    groups = [
        [
            [label, count(row["kept_tokens"])]
            + [percent(shares(row)[name]) if name in shares(row) else NONE for name in names]
            for row, label in group
        ]
        for _, group in itertools.groupby(pairs, key=lambda pair: share_kept(pair[0]))
    ]
    return Table(["Method", "Visual tokens", *names], groups)


def markdown_table(results: dict[str, Any]) -> str:
    """The table of accuracy and cost as GitHub Markdown, one line per row, no line break at the end.

    Raises:
        ValueError: the results have no rows.
    """
    return as_markdown(result_table(results))


def as_markdown(table: Table) -> str:
    """Any table as GitHub Markdown, one line per row, no line break at the end."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    lines = [table.header, rule, *itertools.chain.from_iterable(table.groups)]
    return "\n".join(f"| {' | '.join(map(_markdown, line))} |" for line in lines)


def rich_table(results: dict[str, Any]) -> RichTable:
    """The same table for the terminal: `rich.print(rich_table(results))`.

    Raises:
        ValueError: the results have no rows.
    """
    return as_rich(result_table(results))


def as_rich(table: Table) -> RichTable:
    """Any table for the terminal; what stands in brackets, and long names, get lines of their own."""
    shown = RichTable(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, padding=0)
    for i, heading in enumerate(table.header):
        shown.add_column(
            Text(heading.replace(" [", "\n[").replace(" to ", "\nto ")),
            justify="right" if i else "left",
            no_wrap=i == 0,
            overflow="fold",
        )
    for group in table.groups:
        for name, *numbers in group:
            lines = name.replace(" (", "\n(", 1).replace(", ", ",\n")
            shown.add_row(Text(lines), *(Text(number.replace(" [", "\n[")) for number in numbers))
        shown.add_section()
    return shown


def _rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    if not results["rows"]:
        raise ValueError('results["rows"] is empty: there is nothing to show; run at least one method')
    return results["rows"]


def _markdown(cell: str) -> str:
    for mark, written in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " ")):
        cell = cell.replace(mark, written)
    return cell
