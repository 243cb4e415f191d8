"""Adapters in folders: read once for each model, and merged into its weights where that is wanted."""

from __future__ import annotations

import json
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from transformers import PreTrainedModel

from pinhole.adapters import PREFIX, Adapter
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from pinhole.layer_method import LayerMethod

if TYPE_CHECKING:
    from peft import LoraConfig

_READ = ("r", "lora_alpha", "use_rslora")
"""What of peft's configuration decides what weights do."""
_PASSED_OVER = (
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
)
"""What of it says where weights come from, or where they go, which their names say too."""

_loaded: weakref.WeakKeyDictionary[PreTrainedModel, dict[str, tuple[int, Adapter]]] = weakref.WeakKeyDictionary()


def adapter_of(family: Family, folder: str) -> Adapter:
    """The adapter in a folder, ready for a model: made once for each model, and again when the file has changed.

    Raises:
        ValueError: there is none, or it does not fit the model.
    """
    path = Path(folder)
    try:
        written = (path / ADAPTER_WEIGHTS).stat().st_mtime_ns
        told = json.loads((path / ADAPTER_CONFIG).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"no adapter in {folder}: {error}") from error
    known, key = _loaded.setdefault(family.model, {}), str(path.resolve())
    if known.get(key, (None,))[0] != written:
        adapter = Adapter(family, _config(folder, told))
        adapter.load(path)
        known[key] = written, adapter
    adapter = known[key][1]
    adapter.follow()
    return adapter


def _config(folder: str, told: dict[str, Any]) -> LoraConfig:
    """peft's configuration, for the layers that there are weights for.

    Raises:
        ValueError: it is not plain LoRA's.
    """
    from peft import LoraConfig

    with safe_open(Path(folder) / ADAPTER_WEIGHTS, "pt") as file:
        names = {re.split(r"\.lora_[AB]\.", name.removeprefix(PREFIX))[0] for name in file.keys()}  # noqa: SIM118
    targets = "|".join(map(re.escape, sorted(names)))
    read = {name: told[name] for name in _READ if name in told}
    config = LoraConfig(**read, target_modules=targets, init_lora_weights=False, inference_mode=True)
    plain = config.to_dict()
    if told.get("init_lora_weights") in (True, "gaussian"):  # others change the model's own weights
        plain["init_lora_weights"] = told["init_lora_weights"]
    odd = [name for name in told if name not in _PASSED_OVER and (told[name] or None) != (plain.get(name) or None)]
    if odd:
        raise ValueError(f"the adapter in {folder} is not plain LoRA: {odd[0]} is {told[odd[0]]!r} there")
    return config


def merge(model: PreTrainedModel, method: LayerMethod) -> PreTrainedModel:
    """Add a method's adapter to the weights of `model`, for good, and return the model.

    The model is then a plain one: `save_pretrained` writes it as any other, and the method without its adapter, such as
    `pinhole.ADSC(schedule=...)`, reads it as the method with the adapter read it before, without the adapter's cost.

    Args:
        model: a loaded LVLM of a supported family; it is changed in place.
        method: with an adapter, such as `pinhole.ADSC.from_pretrained(FOLDER)`.

    Raises:
        ValueError: the method has no adapter, it does not fit or is merged already, or the weights are quantised.
    """
    if method.adapter is None:
        raise ValueError(f"this {method.name} has no adapter: load it from the folder of a training run")
    if getattr(model, "is_quantized", False):
        raise ValueError("quantised weights cannot take an adapter in: load the model without quantisation to merge")
    adapter_of(family_of(model), method.adapter).merge()
    return model
