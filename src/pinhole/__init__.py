"""Pinhole runs vision-language models on a tenth of their visual tokens."""

from __future__ import annotations

from pinhole.budget import Budget, LLMShape, kept_tokens
from pinhole.chat import Chat
from pinhole.compress import Compression, compress
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
    "kept_tokens",
]
