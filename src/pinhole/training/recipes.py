"""The recipes by name."""

from __future__ import annotations

import importlib

from pinhole.registry import MethodSpec, method_class
from pinhole.training.recipe import Recipe

RECIPES = {
    "distillation": "pinhole.training.distillation:Distillation",
    "fidelity": "pinhole.training.fidelity:Fidelity",
    "bottleneck": "pinhole.training.bottleneck:Bottleneck",
    "selection": "pinhole.training.selection:Selection",
    "explanation": "pinhole.training.explanation:Explanation",
}
"""Class of each recipe, as "module:Class"; a method's class names its own as `recipe`."""


def recipe_of(spec: MethodSpec) -> type[Recipe]:
    """The recipe that a method learns by.

    Raises:
        ValueError: it has nothing to learn.
    """
    name = method_class(spec.name).recipe
    if name is None:
        raise ValueError(f"{spec.name} has nothing to learn")
    module, attribute = RECIPES[name].split(":")
    return getattr(importlib.import_module(module), attribute)
