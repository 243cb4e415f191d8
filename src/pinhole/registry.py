"""The methods by name: one lazy table, and entry points for those that others write."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pinhole.budget import Keep, check_keep

if TYPE_CHECKING:
    from pinhole.plan import Method

METHODS = {
    "full": "pinhole.methods.full:Full",
    "random": "pinhole.methods.random:Random",
    "sample": "pinhole.methods.sample:Sample",
    "spatial": "pinhole.methods.spatial:Spatial",
    "tome": "pinhole.methods.tome:ToMe",
    "prumerge": "pinhole.methods.prumerge:PruMerge",
    "prumerge+": "pinhole.methods.prumerge:PruMergePlus",
    "visionzip": "pinhole.methods.visionzip:VisionZip",
    "vispruner": "pinhole.methods.vispruner:VisPruner",
    "metacompress": "pinhole.methods.metacompress:MetaCompress",
    "pinhole": "pinhole.methods.pinhole:Pinhole",
    "fastv": "pinhole.methods.fastv:FastV",
    "pyramiddrop": "pinhole.methods.pyramiddrop:PyramidDrop",
    "sparsevlm": "pinhole.methods.sparsevlm:SparseVLM",
    "dart": "pinhole.methods.dart:DART",
    "vtw": "pinhole.methods.vtw:VTW",
    "adsc": "pinhole.methods.adsc:ADSC",
    "divprune": "pinhole.methods.divprune:DivPrune",
    "cdpruner": "pinhole.methods.cdpruner:CDPruner",
    "visionselector": "pinhole.methods.visionselector:VisionSelector",
    "relevance": "pinhole.methods.relevance:Relevance",
    "oracle": "pinhole.methods.oracle:Oracle",
}
"""Class of each method, as "module:Class". Packages add theirs under the entry point group "pinhole.methods"."""


@runtime_checkable
class Loads(Protocol):
    """A class of methods that can be loaded as training has left them."""

    @classmethod
    def from_pretrained(cls, source: str, **settings: Any) -> Any:
        """From a folder or a hub name; `settings` take the place of those saved."""


def method_names() -> list[str]:
    """Every method that can be named, Pinhole's own first."""
    return [*METHODS, *(point.name for point in entry_points(group="pinhole.methods") if point.name not in METHODS)]


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ValueError: no such method; the message suggests near names.
    """
    if name in METHODS:
        module, attribute = METHODS[name].split(":")
        return getattr(importlib.import_module(module), attribute)
    for point in entry_points(group="pinhole.methods"):
        if point.name == name:
            return point.load()
    raise ValueError(f"no method {name!r}{_did_you_mean(name, method_names())}")


@dataclass(frozen=True)
class MethodSpec:
    """A method as written on the command line: `name`, `name:setting=value,...` or `name:FOLDER,setting=value,...`.

    Attributes:
        name: of the method.
        source: folder or hub name of learned weights, or None.
        given: the settings written with it.
    """

    name: str
    source: str | None
    given: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> MethodSpec:
        """Read and check a specification.

        Raises:
            ValueError: unknown method or setting, a setting that is missing, or a value that cannot be read.
        """
        name, _, rest = text.partition(":")
        kind = method_class(name)
        source: str | None = None
        given: dict[str, Any] = {}
        for i, part in enumerate(filter(None, _parts(rest))):
            key, equals, value = part.partition("=")
            if equals:
                given[key.strip()] = parse_value(value.strip())
            elif i == 0 and issubclass(kind, Loads):
                source = part
            else:
                raise ValueError(f"cannot read {part!r} in {text!r}: settings are written setting=value, after a comma")
        allowed = settings_of(kind)
        for key in given:
            if key not in allowed:
                raise ValueError(f"{name} has no setting {key!r}{_did_you_mean(key, allowed)}")
        for key in required_of(kind):
            if key not in given:
                raise ValueError(f"{name} needs the setting {key!r}: write {name}:{key}=...")
        if given.get("keep") is not None:
            check_keep(given["keep"])
        return cls(name, source, given)

    @property
    def is_untrained(self) -> bool:
        """Whether the method learns and no weights are named: `build` draws them at random."""
        from pinhole.method import Learned

        return self.source is None and issubclass(method_class(self.name), Learned)

    def build(self, width: int, keep: Keep | None = None, seed: int = 0) -> Method:
        """The method itself; `keep` counts where the specification has none and the method takes one.

        Args:
            width: of the LLM; untrained weights are made for it.
            keep: share or count.
            seed: of untrained weights.
        """
        from pinhole.method import Learned

        kind, settings = method_class(self.name), dict(self.given)
        if keep is not None and "keep" in settings_of(kind):
            settings.setdefault("keep", keep)
        if self.source is not None:
            assert issubclass(kind, Loads)
            if not Path(self.source).is_dir() and self.source.count("/") != 1:
                raise ValueError(
                    f"no folder {self.source!r} with {self.name} weights, and not a hub name like owner/name"
                )
            return kind.from_pretrained(self.source, **settings)
        if issubclass(kind, Learned):
            return kind.create(width, seed, **settings)
        return kind(**settings)


def settings_of(kind: type[Method]) -> list[str]:
    """The names of the settings that a method's class takes."""
    return [name for name in inspect.signature(kind).parameters if name != "width"]


def required_of(kind: type[Method]) -> list[str]:
    """Those of them that have no default."""
    parameters = inspect.signature(kind).parameters
    return [name for name in settings_of(kind) if parameters[name].default is inspect.Parameter.empty]


def _parts(text: str) -> list[str]:
    """Cut at the commas that stand in no brackets."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def parse_value(text: str) -> Any:
    """A setting's value: a Python literal, true, false, none, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _did_you_mean(given: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (there {'are' if allowed else 'is'} {', '.join(allowed) or 'none'})"
