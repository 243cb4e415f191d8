"""A contender: a method with its settings and weights, under a name that no other has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pinhole.budget import Keep
from pinhole.method import InputMethod
from pinhole.registry import MethodSpec


@dataclass(frozen=True)
class Contender:
    """One row of a comparison.

    Attributes:
        key: names the method, its settings and a digest of its weights.
        method: ready to use.
    """

    key: str
    method: InputMethod


def contenders(specs: list[str], keeps: list[Keep], width: int) -> list[Contender]:
    """Every method at every keep, in the order given; what comes out the same twice is left out.

    Raises:
        ValueError: a specification that cannot be read.
    """
    found: dict[str, Contender] = {}
    for spec in map(MethodSpec.parse, specs):
        for keep in keeps:
            method = spec.build(width, keep)
            weights = f"@{_digest(spec.source)}" if spec.source else ""
            settings = json.dumps({"keep": method.keep, **method.settings()}, sort_keys=True)
            contender = Contender(f"{method.name}{weights} {settings}", method)
            found.setdefault(contender.key, contender)
    return list(found.values())


def _digest(source: str) -> str:
    """Twelve digits that change when the weights in a folder do; a hub name stands for itself."""
    weights = Path(source) / "model.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12] if weights.exists() else source
