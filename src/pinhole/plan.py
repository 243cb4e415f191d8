"""Plan: what reduces a model's visual tokens, at the LLM's input and between its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pinhole.budget import Budget
from pinhole.layer_method import LayerMethod
from pinhole.method import InputMethod
from pinhole.methods.full import Full

Method = InputMethod | LayerMethod
Methods = Method | Sequence[Method] | None


@dataclass(frozen=True, eq=False)
class Plan:
    """An input-stage method, and perhaps one inside the LLM that goes on from there.

    Attributes:
        entry: decides what the LLM reads.
        layer: decides what leaves between its layers.
    """

    entry: InputMethod
    layer: LayerMethod | None = None

    def budget(self, before: int, entering: int, layers: int) -> Budget:
        """Visual tokens in each layer, of `entering` that the LLM reads of an image of `before` tokens."""
        if self.layer is None:
            return Budget.constant(before, entering, layers)
        return self.layer.budget(before, entering, layers)

    @classmethod
    def of(cls, methods: Methods) -> Plan:
        """One method or two, the one at the input first; None keeps every visual token.

        Raises:
            TypeError: not methods.
            ValueError: two methods of the same stage.
        """
        given = [methods] if isinstance(methods, Method) else list(methods or ())
        entries = [method for method in given if isinstance(method, InputMethod)]
        layers = [method for method in given if isinstance(method, LayerMethod)]
        if len(entries) + len(layers) < len(given):
            raise TypeError(f"expected methods such as pinhole.Sample(keep=0.1), got {given!r}")
        if len(entries) > 1 or len(layers) > 1:
            names = ", ".join(method.name for method in given)
            raise ValueError(f"one method at the input and one inside the LLM work together, got {names}")
        return cls(entries[0] if entries else Full(), layers[0] if layers else None)
