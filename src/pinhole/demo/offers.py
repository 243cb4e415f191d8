"""The methods that visitors can choose: by name, and learned ones from folders and from the hub."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from pinhole.choose.candidates import default_methods
from pinhole.decide import check_plan
from pinhole.demo.compressors import from_hub, in_folders
from pinhole.evaluation.contender import parse_specs
from pinhole.families.base import Family
from pinhole.layer_method import LayerMethod
from pinhole.plan import Plan
from pinhole.registry import METHODS, MethodSpec, settings_of
from pinhole.view.cells import method_label

Specs = tuple[MethodSpec, ...]
TRIED = 0.5
"""The keep with which it is found out whether a method works on the model."""


class Offers:
    """What can be chosen on one model.

    Args:
        family: of the model.
        texts: methods as `parse_specs` reads them; None are all that need neither training nor a setting.
        folders: learned ones are looked for in these and below.

    Attributes:
        left_out: why each of the others cannot be chosen.

    Raises:
        ValueError: a text that cannot be read, a text or a folder that makes nothing that works on the model, or
            nothing to choose.
    """

    def __init__(self, family: Family, texts: Sequence[str] | None = None, folders: Iterable[Path] = ()) -> None:
        self._family = family
        self._known: dict[str, Specs] = {}
        self.left_out: list[str] = []
        self._plan = functools.lru_cache(maxsize=8)(self._built)
        for label, spec in in_folders(folders).items():
            self._take(label, (spec,), is_wanted=False)
        for text in default_methods() if texts is None else texts:
            label = method_label(text) if text in METHODS else text
            self._take(label, tuple(parse_specs(text)), is_wanted=texts is not None)
        if not self._known:
            raise ValueError(f"no method to choose: {'; '.join(self.left_out) or 'give --methods or --compressors'}")

    @property
    def labels(self) -> list[str]:
        """What the methods are called, learned ones first."""
        return list(self._known)

    def add(self, name: str) -> str:
        """Make learned weights from the hub one of the methods, and return what it is called.

        Args:
            name: such as owner/name.

        Raises:
            ValueError: there are none, or they do not work on this model.
        """
        label, spec = from_hub(name)
        self._take(label, (spec,), is_wanted=True)
        return label

    def plan(self, label: str, keep: float) -> Plan:
        """A method, ready to use.

        Args:
            label: one of `labels`.
            keep: share of the visual tokens that remain. Methods inside the LLM that have no such setting become as
                mild or harsh (`LayerMethod.at`), unless settings were written with them or they were trained.

        Raises:
            ValueError: no such method.
        """
        if label not in self._known:
            raise ValueError(f"no method {label!r} here: choose one of the list")
        return self._plan(label, keep)

    def _take(self, label: str, specs: Specs, is_wanted: bool) -> None:
        self._known[label] = specs
        try:
            self._built(label, TRIED)
        except (ValueError, TypeError) as error:
            del self._known[label]
            if is_wanted:
                raise
            self.left_out.append(f"{label}: {error}")

    def _built(self, label: str, keep: float) -> Plan:
        methods, shape = [], self._family.shape
        for spec in self._known[label]:
            method = spec.build(shape.width, keep)
            is_free = not spec.given and spec.source is None and "keep" not in settings_of(type(method))
            methods.append(method.at(keep, shape.layers) if isinstance(method, LayerMethod) and is_free else method)
        plan = Plan.of(methods)
        check_plan(plan, self._family)
        return plan
