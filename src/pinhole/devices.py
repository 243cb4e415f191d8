"""Where a model that may be spread over several devices reads its inputs."""

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
