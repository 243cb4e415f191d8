"""Counts the contract's cells, prints one line for each family and writes them to a file (`--cells FILE`)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest


class Collector:
    """Hears every report, also those that come from the processes of pytest-xdist."""

    def __init__(self) -> None:
        self.cells: list[dict] = []

    def pytest_runtest_logreport(self, report):
        cell = dict(report.user_properties).get("cell")
        if cell and report.when == "call":
            self.cells.append({**cell, "outcome": cell["outcome"] if report.passed else "failed"})


def pytest_configure(config):
    if config.getoption("cells") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(), "cells")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    collector = config.pluginmanager.get_plugin("cells")
    if collector is None:
        return
    cells = sorted(collector.cells, key=lambda cell: json.dumps(cell, sort_keys=True))
    Path(config.getoption("cells")).write_text(json.dumps(cells, indent=0, sort_keys=True) + "\n")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell["family"]][cell["outcome"]] += 1
    terminalreporter.section("contracts")
    for family, count in counts.items():
        outcomes = "".join(f"{count[outcome]:>6} {outcome}" for outcome in ("passed", "refused", "failed"))
        terminalreporter.line(f"{family:<{max(map(len, counts))}}{outcomes}")
