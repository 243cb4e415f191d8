"""What a training run leaves behind: its settings, its log, its checkpoints; and how a stopped run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from pinhole.differences import differences
from pinhole.training.recipe import Recipe


class Run:
    """The folder of one training run.

    `training.json` holds the settings, `log.jsonl` every step's losses, `checkpoints/step-N` weights and optimizer.

    Args:
        out: the folder; it is made.
        settings: what decides the run, as JSON values; a resumed run must have the same.
        resume: go on from the newest checkpoint, where there is one.
        writes: whether this process is the one that writes; the others only read checkpoints.

    Raises:
        ValueError: the folder holds a run and `resume` is off, or that run had other settings.
    """

    def __init__(self, out: Path, settings: dict[str, Any], resume: bool, writes: bool = True) -> None:
        self.out, self._writes = out, writes
        self._checkpoints, self._log = out / "checkpoints", out / "log.jsonl"
        if not writes:
            return
        settings = json.loads(json.dumps(settings))
        described = out / "training.json"
        if described.exists():
            if not resume:
                raise ValueError(
                    f"{out} already holds a training run: give --resume to go on with it, or another --out"
                )
            before = json.loads(described.read_text())
            if pairs := differences(before, settings):
                raise ValueError(f"cannot resume the run in {out} with other settings: {pairs}")
        out.mkdir(parents=True, exist_ok=True)
        described.write_text(json.dumps(settings, indent=2) + "\n")

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        return max(self._checkpoints.glob("step-????????"), default=None)

    def log(self, record: dict[str, Any]) -> None:
        """Append one step's record."""
        if not self._writes:
            return
        with self._log.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def save(self, step: int, recipe: Recipe, optimizer: Optimizer) -> None:
        """Write a checkpoint; it is complete or absent, and the one before the last is removed."""
        if not self._writes:
            return
        target = self._checkpoints / f"step-{step:08d}"
        partial = self._checkpoints / "part"
        shutil.rmtree(partial, ignore_errors=True)
        recipe.save(partial)
        torch.save({"step": step, "optimizer": optimizer.state_dict()}, partial / "optimizer.pt")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        for old in sorted(self._checkpoints.glob("step-????????"))[:-2]:
            shutil.rmtree(old)

    def load_optimizer(self, checkpoint: Path, optimizer: Optimizer) -> int:
        """Restore the optimizer and return the step it was saved at."""
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        return state["step"]

    def forget_after(self, step: int) -> None:
        """Drop log lines of later steps: they will be taken again."""
        if self._writes and self._log.exists():
            lines = [line for line in self._log.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._log.write_text("".join(line + "\n" for line in kept))
