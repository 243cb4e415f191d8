"""Counts the contract's cells, prints one line for each family and writes the counts to a file (`--cells FILE`)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

OUTCOMES = ("passed", "refused", "failed")


class Collector:
    """Hears every report, also those that come from the processes of pytest-xdist."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], Counter[str]] = {}
        self.reasons: dict[tuple[str, str, str], str] = {}

    def pytest_runtest_logreport(self, report):
        cell = dict(report.user_properties).get("cell")
        if cell and report.when == "call":
            key = (cell["family"], cell["modality"], cell["method"])
            self.counts.setdefault(key, Counter())[cell["outcome"] if report.passed else "failed"] += 1
            self.reasons[key] = cell["reason"]

    def rows(self) -> list[dict]:
        """One for each family, modality and method."""
        names = ("family", "modality", "method")
        return [
            dict(zip(names, key, strict=True))
            | {outcome: self.counts[key][outcome] for outcome in OUTCOMES}
            | {"reason": self.reasons[key]}
            for key in sorted(self.counts)
        ]


def pytest_configure(config):
    if config.getoption("cells") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(), "cells")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    collector = config.pluginmanager.get_plugin("cells")
    if collector is None:
        return
    rows = collector.rows()
    lines = ",\n".join(json.dumps(row) for row in rows)
    Path(config.getoption("cells")).write_text(f"[\n{lines}\n]\n")
    terminalreporter.section("contracts")
    families = sorted({row["family"] for row in rows})
    for family in families:
        counts = [sum(row[outcome] for row in rows if row["family"] == family) for outcome in OUTCOMES]
        outcomes = "".join(f"{count:>6} {outcome}" for count, outcome in zip(counts, OUTCOMES, strict=True))
        terminalreporter.line(f"{family:<{max(map(len, families))}}{outcomes}")
