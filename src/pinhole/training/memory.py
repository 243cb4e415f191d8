"""Gradient checkpointing of the LLM's layers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from pinhole.adapters import recomputing
from pinhole.families import family_of


@contextlib.contextmanager
def light_layers(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """While the block runs, the LLM's layers keep their input alone for the backward pass and compute the rest again.

    The layers alone are in training mode meanwhile, not what is in them: nothing is dropped out.

    Raises:
        ValueError: the layers cannot do that.
    """
    if not wanted:
        yield
        return
    layers = family_of(model).language_model.layers
    if not all(isinstance(layer, GradientCheckpointingLayer) for layer in layers):
        kind = model.config.model_type
        raise ValueError(f"the layers of models of type {kind!r} know no gradient checkpointing: leave it off")
    again = functools.partial(recomputing, model)
    model.activation_checkpointing_enable({"use_reentrant": False, "context_fn": again})
    model.disable_input_require_grads()  # transformers enables them along; only reentrant checkpointing needs them
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        model.activation_checkpointing_disable()
