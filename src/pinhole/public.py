"""What `import pinhole` gives."""

from __future__ import annotations

from pinhole.adapter_folders import merge
from pinhole.budget import Budget, LLMShape, kept_tokens
from pinhole.chat import Chat
from pinhole.compression import Compression, compress
from pinhole.layer_method import LayerMethod, LayerTokens
from pinhole.method import InputMethod, Learned, TrainingFree
from pinhole.methods.full import Full
from pinhole.methods.metacompress import MetaCompress
from pinhole.methods.random import Random
from pinhole.methods.sample import Sample
from pinhole.methods.spatial import Spatial
from pinhole.pipeline import register_pipeline
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.training.fit import fit_reduction
from pinhole.visual import VisualTokens

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
    "register_pipeline",
]
