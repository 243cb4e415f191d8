"""Pinhole runs vision-language models on a tenth of their visual tokens."""

from __future__ import annotations

from typing import Any

from pinhole.adapter_folders import merge
from pinhole.budget import Budget, LLMShape, kept_tokens
from pinhole.chat import Chat
from pinhole.compress import Compression, compress
from pinhole.layer_method import LayerMethod, LayerTokens
from pinhole.method import InputMethod, Learned, TrainingFree
from pinhole.methods.full import Full
from pinhole.methods.metacompress import MetaCompress
from pinhole.methods.random import Random
from pinhole.methods.sample import Sample
from pinhole.methods.spatial import Spatial
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.visual import VisualTokens

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "Chat",
    "Compression",
    "Full",
    "InputMethod",
    "LLMShape",
    "LayerMethod",
    "LayerTokens",
    "Learned",
    "MetaCompress",
    "Random",
    "Reduction",
    "Sample",
    "Scope",
    "Session",
    "Spatial",
    "TrainingFree",
    "VisualTokens",
    "compress",
    "fit_reduction",
    "kept_tokens",
    "merge",
]


def __getattr__(name: str) -> Any:
    """`fit_reduction`, and every other method by its class's name, such as `pinhole.FastV`: imported when asked for."""
    if name == "fit_reduction":
        from pinhole.training.fit import fit_reduction

        return fit_reduction
    from pinhole.registry import METHODS, method_class

    for method, target in METHODS.items():
        if target.endswith(f":{name}"):
            return method_class(method)
    raise AttributeError(f"module 'pinhole' has no attribute {name!r}")
