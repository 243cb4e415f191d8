"""Which methods a server can run: what they decide must be known to vLLM before the picture is encoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pinhole.decide import check
from pinhole.families.base import Family
from pinhole.families.cues import NEXT, OUTPUT
from pinhole.families.first_layer import FIRST, of_prompt
from pinhole.layer_method import LayerMethod
from pinhole.method import InputMethod
from pinhole.registry import MethodSpec
from pinhole.serving.settings import Settings


def servable(settings: Settings, family: Family) -> InputMethod:
    """The method, its weights loaded on the CPU, in the precision in which they were saved.

    Args:
        settings: what was asked for.
        family: of the model; its weights may be on the meta device.

    Raises:
        ValueError: a server cannot run it; the message says why.
    """
    spec = MethodSpec.parse(settings.method)
    if spec.is_untrained:
        raise ValueError(f"{spec.name} learns: serve it with its weights, as {spec.name}:FOLDER")
    with _ordinary_tensors():
        method = spec.build(family.width, settings.keep)
    if isinstance(method, LayerMethod):
        raise ValueError(
            f"{method.name} drops tokens between the LLM's layers, and vLLM's KV cache holds as many tokens in each "
            "layer: serve a method that reduces them at the LLM's input"
        )
    if reason := _refusal(method, family):
        raise ValueError(f"{method.name} cannot be served: {reason}")
    check(method, family)
    return method


def _refusal(method: InputMethod, family: Family) -> str | None:
    if method.keep is None:
        return "its count depends on the picture, and vLLM must know it before: give it a keep where it takes one"
    if method.turns == "each":
        return "it decides anew at every turn, and what vLLM's prefix cache holds cannot change: set turns=first"
    if told := of_prompt(method.needs) - {FIRST}:
        return f"of the question it reads {', '.join(sorted(told))}, and a server gives {FIRST} alone"
    if "labels" in method.settings():
        return "it looks its answers up in labels, which there are not of pictures that users send"
    if missing := method.needs - encoder_cues(family) - {FIRST}:
        return f"it reads {', '.join(sorted(missing))}, which vLLM's encoder of this model does not give"
    return None


def encoder_cues(family: Family) -> frozenset[str]:
    """The cues that vLLM's encoder gives: those of the layer that the projector reads. It has no layer after that."""
    encoder = family.encoder({})
    return frozenset(name for name in encoder.cues if NEXT not in name and name != OUTPUT) if encoder else frozenset()


@contextlib.contextmanager
def _ordinary_tensors() -> Iterator[None]:
    """While vLLM builds a model it makes every new tensor in the model's dtype and on its device: not these."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
