"""Devices by name, and where a model that may be spread over several reads its inputs."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel


def input_device(model: PreTrainedModel) -> torch.device:
    """The device for token ids, and for everything of a prompt's length: that of the input embeddings.

    `model.device` is that of the first weight, which with `device_map` may be the vision tower's. Where the embeddings
    lie on the disk or in the CPU's memory until they are used, any device will do: accelerate moves what they read.
    """
    for device in (model.get_input_embeddings().weight.device, model.device):
        if device.type != "meta":
            return device
    return torch.device("cpu")


def device_named(name: str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: there is none here.
    """
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"no device {name!r} here: {str(error).splitlines()[0]}") from error
