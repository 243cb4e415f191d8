"""Runs lmms-eval on its own benchmarks, once for each method and keep, and gathers what it found."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinhole.evaluation.contender import parse_specs
from pinhole.evaluation.results import save
from pinhole.registry import method_class, settings_of

PREFIX = "lmms:"
"""What the names of lmms-eval's benchmarks begin with in `pinhole eval --tasks`."""

STANDARD_ERROR = 2
"""The file that lmms-eval prints to: its tables are no result of Pinhole's."""


@dataclass(frozen=True)
class Benchmarks:
    """What lmms-eval is to run.

    Attributes:
        tasks: names, each behind "lmms:".
        batch: prompts answered at once.
        limit: only the first questions of each; None for all.
        include: a folder with tasks beside lmms-eval's own.
    """

    tasks: tuple[str, ...]
    batch: int
    limit: int | None = None
    include: Path | None = None

    def __post_init__(self) -> None:
        for task in self.tasks:
            if not task.removeprefix(PREFIX) or not task.startswith(PREFIX):
                raise ValueError(f"--tasks takes lmms-eval's benchmarks, such as lmms:mmstar, got {task!r}")

    def command(self, model_args: Mapping[str, Any], out: Path) -> list[str]:
        """How lmms-eval is called."""
        given = ",".join(f"{name}={_quoted(str(value))}" for name, value in model_args.items() if value is not None)
        command = [sys.executable, "-m", "lmms_eval", "--model", "pinhole", "--model_args", given]
        command += ["--tasks", ",".join(task.removeprefix(PREFIX) for task in self.tasks)]
        command += ["--batch_size", str(self.batch), "--output_path", str(out), "--log_samples"]
        command += ["--limit", str(self.limit)] if self.limit is not None else []
        return command + (["--include_path", str(self.include)] if self.include is not None else [])


def run(
    benchmarks: Benchmarks, methods: list[str], keeps: list[str], options: Mapping[str, Any], out: Path
) -> dict[str, Any]:
    """Run every method at every keep; those that take no keep once.

    Args:
        benchmarks: what to run.
        methods: as on Pinhole's command line.
        keeps: shares or counts, as written.
        options: the other arguments of `pinhole.lmms.model.Pinhole`.
        out: folder; each run's answers are in a folder of its own.

    Returns:
        what `out/lmms.json` holds: rows of method, keep and, by task, the measures that lmms-eval found.

    Raises:
        ImportError: lmms-eval is not installed.
        ValueError: several processes were started, or lmms-eval failed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "pinhole eval --tasks is one process: for several, accelerate launch -m lmms_eval --model pinhole"
        )
    if importlib.util.find_spec("lmms_eval") is None:
        raise ImportError("lmms-eval's benchmarks need lmms-eval: pip install 'pinhole-vlm[lmms]'")
    rows = []
    for method in methods:
        takes_keep = any("keep" in settings_of(method_class(spec.name)) for spec in parse_specs(method))
        for keep in keeps if takes_keep else [None]:
            folder = out / re.sub(r"[^\w.+=-]+", "_", method if keep is None else f"{method}_keep={keep}")
            told = {"method": method, "keep": keep}
            command = benchmarks.command({**told, **options}, folder)
            if subprocess.run(command, check=False, stdout=STANDARD_ERROR).returncode:
                raise ValueError(f"lmms-eval failed with method {method}, keep {keep}; what it printed says why")
            rows.append({**told, "tasks": _found(folder)})
    return save(out / "lmms.json", {"rows": rows})


def _found(folder: Path) -> dict[str, dict[str, float]]:
    """The numbers of the latest run in a folder, by task and measure."""
    *_, latest = sorted(folder.rglob("*_results.json"), key=lambda path: path.name)
    results = json.loads(latest.read_text())["results"]
    return {
        task: {name: value for name, value in measures.items() if isinstance(value, int | float)}
        for task, measures in results.items()
    }


def _quoted(text: str) -> str:
    """In quotation marks where lmms-eval would cut it at a comma."""
    return f"'{text}'" if "," in text else text
