"""The embedded worlds and their tiny LVLMs: what runs where nothing can be downloaded."""

from __future__ import annotations

from pathlib import Path


def checkpoint(name: str = "checkpoint") -> Path:
    """The folder of an LVLM that Pinhole ships: any code that loads a LLaVA checkpoint loads it."""
    return Path(__file__).parent / name
