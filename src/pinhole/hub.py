"""Weights in folders and on the hub: safetensors and a JSON config, loaded strictly, never unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download, snapshot_download
from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from safetensors.torch import load_file

SETTINGS, ADAPTER_CONFIG, ADAPTER_WEIGHTS = "config.json", "adapter_config.json", "adapter_model.safetensors"
"""The files of a method with an adapter: its own settings, and peft's two."""


def adapter_folder(source: str) -> Path:
    """The folder with a method's settings and its adapter; what has a hub name is downloaded.

    Args:
        source: folder or hub name.

    Raises:
        ValueError: nothing there, or files are missing.
    """
    files = [SETTINGS, ADAPTER_CONFIG, ADAPTER_WEIGHTS]
    if not Path(source).is_dir() and source.count("/") != 1:
        raise ValueError(f"no folder {source!r} with an adapter, and not a hub name like owner/name")
    folder = Path(source) if Path(source).is_dir() else Path(snapshot_download(source, allow_patterns=files))
    for name in files:
        if not (folder / name).is_file():
            raise ValueError(f"no adapter in {source}: {name} is missing (was training finished?)")
    return folder


class HubWeights(PyTorchModelHubMixin):
    """`save_pretrained`, `from_pretrained` and `push_to_hub` for a torch module.

    huggingface_hub's own loading passes over missing weights and falls back to pickles; this one does neither.
    """

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        **settings: Any,
    ) -> Self:
        path = Path(model_id) / SAFETENSORS_SINGLE_FILE
        if not Path(model_id).is_dir():
            path = Path(
                hf_hub_download(
                    model_id,
                    SAFETENSORS_SINGLE_FILE,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        if not path.is_file():
            raise ValueError(f"no weights in {model_id}: {SAFETENSORS_SINGLE_FILE} is missing (was training finished?)")
        if "width" not in settings:
            raise ValueError(f"no settings in {model_id}: config.json is missing or damaged")
        module = cls(**settings)
        assert isinstance(module, torch.nn.Module)
        try:
            module.load_state_dict(load_file(path, device=map_location))
        except RuntimeError as error:
            raise ValueError(f"the weights in {model_id} do not fit its config.json: {error}") from error
        return module
