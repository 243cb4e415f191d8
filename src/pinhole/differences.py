"""Whether a folder was written with other settings than those of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two sets of settings differ in, as words for an error: "lr was 0.01, is 0.02"; empty where in nothing.

    Args:
        before: as JSON gave it.
        now: as JSON would give it.
    """
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name} was {before.get(name)!r}, is {now.get(name)!r}" for name in names)
