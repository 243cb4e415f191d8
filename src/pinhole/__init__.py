"""Pinhole runs vision-language models on a tenth of their visual tokens."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinhole.public import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What is public, and every other method by its class's name, such as `pinhole.FastV`: imported when asked for.

    So the command line explains itself, and the shell completes it, without waiting for torch.
    """
    public = importlib.import_module("pinhole.public")
    if name == "__all__" or name in public.__all__:
        return getattr(public, name)
    from pinhole.registry import METHODS, method_class

    for method, target in METHODS.items():
        if target.endswith(f":{name}"):
            return method_class(method)
    raise AttributeError(f"module 'pinhole' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *importlib.import_module("pinhole.public").__all__]
