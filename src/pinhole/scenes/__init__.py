"""The embedded world and its tiny LVLM: what runs where nothing can be downloaded."""

from __future__ import annotations

from pathlib import Path


def checkpoint() -> Path:
    """The folder of the LVLM that Pinhole ships: any code that loads a LLaVA checkpoint loads it."""
    return Path(__file__).parent / "checkpoint"
