"""The output head at the one token whose logits `generate` needs."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedModel

from pinhole.devices import input_device


def last_logits(model: PreTrainedModel) -> dict[str, Any]:
    """Arguments for `generate`: logits of the last token alone, taken by an index.

    By itself `generate` takes them by a slice. PyTorch copies the head's whole weight before it multiplies such a view
    on the CPU: 0.26 GB for LLaVA-1.5-7B, for every turn, row by row. What an index takes is a tensor of its own.
    Nothing on other devices, and where the model computes all logits anyway.
    """
    if input_device(model).type != "cpu" or "logits_to_keep" not in inspect.signature(model.forward).parameters:
        return {}
    return {"logits_to_keep": torch.tensor([-1])}
