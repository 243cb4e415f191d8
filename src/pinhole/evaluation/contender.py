"""A contender: one or two methods with their settings and weights, under a name that no other has."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE

from pinhole.budget import Keep, LLMShape
from pinhole.hub import ADAPTER_WEIGHTS
from pinhole.layer_method import LayerMethod
from pinhole.matching import matched
from pinhole.method import InputMethod
from pinhole.plan import Method, Plan
from pinhole.registry import MethodSpec

Match = Literal["keep", "average"]


@dataclass(frozen=True)
class Contender:
    """One row of a comparison.

    Attributes:
        key: names the methods, their settings and a digest of their weights.
        methods: ready to use, the one at the LLM's input first.
        keep: share or count that was asked for; None where a method takes none, or decides by the content.
        spec: the methods as they were written, for another process that builds them.
    """

    key: str
    methods: tuple[Method, ...]
    keep: Keep | None
    spec: str = ""

    @property
    def name(self) -> str:
        """The methods' names, joined by "+"."""
        return "+".join(method.name for method in self.methods)

    @property
    def plan(self) -> Plan:
        """What they do together."""
        return Plan.of(self.methods)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`; those of two methods under "name.setting"."""
        if len(self.methods) == 1:
            return {name: value for name, value in self.methods[0].settings().items() if name != "keep"}
        told = [(method.name, {"keep": getattr(method, "keep", None), **method.settings()}) for method in self.methods]
        return {f"{name}.{setting}": value for name, settings in told for setting, value in settings.items()}


def split_specs(text: str) -> list[str]:
    """Methods as written on the command line: one specification, or one at the input and one inside, as `one+other`."""
    return re.split(r"\+(?=[A-Za-z])", text)


def parse_specs(text: str) -> list[MethodSpec]:
    """What `split_specs` gives, read.

    Raises:
        ValueError: one that cannot be read.
    """
    return [MethodSpec.parse(part) for part in split_specs(text)]


def contenders(texts: list[str], keeps: list[Keep], shape: LLMShape, match: Match = "keep") -> list[Contender]:
    """Every specification at every keep, in the order given; what comes out the same twice is left out.

    Args:
        texts: as `parse_specs` reads them.
        keeps: shares or counts.
        shape: of the LLM.
        match: what a keep means inside the LLM: "keep" hands it to the method as it is, "average" chooses the method's
            settings so that this share is alive on average over the layers.

    Raises:
        ValueError: a specification that cannot be read, or a budget that cannot be met.
    """
    if match not in ("keep", "average"):
        raise ValueError(f"match is keep or average, got {match!r}")
    found: dict[str, Contender] = {}
    for text in texts:
        specs = parse_specs(text)
        for keep in keeps:
            methods = [spec.build(shape.width, keep) for spec in specs]
            if match == "average":
                entering = next((method.keep for method in methods if isinstance(method, InputMethod)), 1.0)
                methods = [
                    matched(method, keep, shape.layers, entering) if isinstance(method, LayerMethod) else method
                    for method in methods
                ]
            contender = _contender(text, specs, methods, keep if match == "average" else None)
            found.setdefault(contender.key, contender)
    return list(found.values())


def _contender(text: str, specs: list[MethodSpec], methods: list[Method], asked: Keep | None) -> Contender:
    keys = []
    for spec, method in zip(specs, methods, strict=True):
        source = spec.source or (method.adapter if isinstance(method, LayerMethod) else None)
        weights = f"@{_digest(source)}" if source else ""
        settings = json.dumps({"keep": getattr(method, "keep", None), **method.settings()}, sort_keys=True)
        keys.append(f"{method.name}{weights} {settings}")
    own = getattr(methods[0], "keep", None)
    is_inside = any(isinstance(method, LayerMethod) for method in methods)
    return Contender(" + ".join(keys), tuple(methods), asked if asked is not None and is_inside else own, text)


def _digest(source: str) -> str:
    """Twelve digits that change when the weights in a folder do; a hub name stands for itself."""
    for name in (SAFETENSORS_SINGLE_FILE, ADAPTER_WEIGHTS):
        if (Path(source) / name).exists():
            return hashlib.sha256((Path(source) / name).read_bytes()).hexdigest()[:12]
    return source
