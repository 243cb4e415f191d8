"""LoRA adapters that the LLM's layers have only while they are wanted; peft makes and merges them."""

from __future__ import annotations

import contextlib
import copy
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from pinhole.families.base import Family
from pinhole.hub import ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from peft import LoraConfig

PREFIX = "base_model.model."
"""Of the names of weights in peft's files."""
_NAME = "default"

_on: weakref.WeakKeyDictionary[PreTrainedModel, Adapter] = weakref.WeakKeyDictionary()


class Adapter:
    """LoRA weights beside some linear layers of one model's LLM.

    peft puts its layers in once, to make them, and they are taken out again; `on()` puts them in for a while. Between
    times the model is what it was: modules, names, weights.

    Args:
        family: of the model.
        config: plain LoRA, whose targets are a regular expression for the full names of layers.

    Raises:
        ValueError: some of these are not in the LLM's layers or there are none, or peft has changed the model already.
    """

    def __init__(self, family: Family, config: LoraConfig) -> None:
        model, layers = family.model, family.language_model.layers
        if getattr(model, "peft_config", None):
            raise ValueError("this model has adapters of its own: merge or unload them first")
        modules = dict(model.named_modules())
        start = next(name for name, module in modules.items() if module is layers) + "."
        self._names = [name for name in modules if re.fullmatch(config.target_modules, name)]
        if outside := [name for name in self._names if not name.startswith(start)]:
            raise ValueError(f"adapters act in the LLM's layers alone, this one also at {', '.join(outside[:3])}")
        if not self._names:
            raise ValueError(f"this model has no layers {config.target_modules}: load the model of this adapter")
        self.config, self._model = config, weakref.ref(model)
        parents = [(modules[name.rpartition(".")[0]], name.rpartition(".")[2]) for name in self._names]
        made = _made(config, layers, [name.removeprefix(start) for name in self._names], parents)
        self._places = [(*place, layer) for place, layer in zip(parents, made, strict=True)]

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """While the block runs, the model reads with the adapter, whatever it read with before."""
        model = self._model()
        assert model is not None
        modules, adapter = [parent._modules[name] for parent, name, _ in self._places], _on.get(model)
        for parent, name, layer in self._places:
            parent._modules[name] = layer
        _on[model] = self
        try:
            yield
        finally:
            for (parent, name, _), module in zip(self._places, modules, strict=True):
                parent._modules[name] = module
            if adapter is None:
                del _on[model]
            else:
                _on[model] = adapter

    @property
    def weights(self) -> dict[str, torch.nn.Parameter]:
        """By the names that they have in peft's files."""
        return {
            f"{PREFIX}{name}.{key.replace(f'.{_NAME}', '')}": parameter
            for (*_, layer), name in zip(self._places, self._names, strict=True)
            for key, parameter in layer.named_parameters()
            if not key.startswith("base_layer.")
        }

    def make_trainable(self) -> None:
        """Weights of at least 32 bits that take gradients, and dropout where the configuration has it."""
        for parameter in self.weights.values():
            if parameter.dtype.itemsize < 4:
                parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        for *_, layer in self._places:
            layer.lora_dropout.train()

    def save(self, folder: Path) -> None:
        """Write weights and configuration as peft does."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: parameter.detach().cpu().contiguous() for name, parameter in self.weights.items()}
        save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        config = copy.copy(self.config)
        config.inference_mode = True
        config.save_pretrained(str(folder))

    def load(self, folder: Path) -> None:
        """Take over the weights in a folder.

        Raises:
            ValueError: they are those of another model, of another configuration, or not LoRA's alone.
        """
        own, given = self.weights, load_file(folder / ADAPTER_WEIGHTS)
        unlike = [name for name in own.keys() | given.keys() if _shape(own.get(name)) != _shape(given.get(name))]
        if unlike:
            name = min(unlike)
            raise ValueError(
                f"the adapter in {folder} does not fit: {name} is {_shape(given.get(name))} there and "
                f"{_shape(own.get(name))} for this model and rank {self.config.r}: load the model it was trained for"
            )
        for name, parameter in own.items():
            parameter.data = given[name].to(parameter.device)

    def merge(self) -> None:
        """Add the adapter to the model's weights for good.

        Raises:
            ValueError: that was done before.
        """
        if any(layer.merged for *_, layer in self._places):
            raise ValueError("this adapter is merged into the model already")
        for *_, layer in self._places:
            layer.merge(safe_merge=True)

    def follow(self) -> None:
        """Move to where the model's weights are."""
        for *_, layer in self._places:
            device = next(layer.base_layer.parameters()).device
            for name, parameter in layer.named_parameters():
                if not name.startswith("base_layer.") and device.type != "meta":
                    parameter.data = parameter.data.to(device)


def _made(
    config: LoraConfig, layers: torch.nn.Module, names: list[str], places: list[tuple[torch.nn.Module, str]]
) -> list[Any]:
    """peft's layers for those of the given names in `layers`, which are left as they were.

    peft is shown the layers alone: of a whole model it would take some names for those of experts in older versions.
    """
    from peft import inject_adapter_in_model

    config = copy.copy(config)
    config.target_modules = set(names)
    before = [parent._modules[name] for parent, name in places]
    trained = [(parameter, parameter.requires_grad) for parameter in layers.parameters()]
    try:
        inject_adapter_in_model(config, layers, _NAME)
        return [parent._modules[name] for parent, name in places]
    finally:
        for (parent, name), module in zip(places, before, strict=True):
            parent._modules[name] = module
        for parameter, is_trained in trained:
            parameter.requires_grad_(is_trained)
        with contextlib.suppress(AttributeError):
            del layers.peft_config


def _shape(weights: torch.Tensor | None) -> list[int] | None:
    return None if weights is None else list(weights.shape)


def recomputing(model: PreTrainedModel) -> tuple[Any, Any]:
    """Contexts for gradient checkpointing: a layer that is computed again has the adapter that is on now."""
    adapter = _on.get(model)
    return contextlib.nullcontext(), adapter.on() if adapter else contextlib.nullcontext()
