"""A model of a configuration with random weights: at once, at any size, on the device it shall be measured on."""

from __future__ import annotations

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

BLOCK, SHIFT = 1_000_003, 7919
"""Random numbers that are drawn, and by how many of them matrices start apart; both prime, so that none are alike."""


def random_model(
    config: PretrainedConfig, dtype: torch.dtype, device: torch.device, attention: str | None = None
) -> PreTrainedModel:
    """A model in evaluation mode. Matrices are noise that keeps the scale of what they are multiplied by, norms are 1.

    Buffers, such as the frequencies of rotary positions, are those of a loaded model. It says no end of sequence.

    Args:
        config: of the model.
        dtype: of the weights.
        device: to make them on; "meta" leaves them without values.
        attention: implementation; None is transformers' choice.
    """
    with init_empty_weights(include_buffers=False):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=attention)
    if device.type != "meta":
        noise = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(device)
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                noise = noise.roll(SHIFT)
                value = _filled(name, parameter, noise)
                setattr(module, name, torch.nn.Parameter(value, requires_grad=False))
    model = model.to(device)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model.eval()


def _filled(name: str, parameter: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Values for a parameter on the meta device."""
    value = torch.empty_like(parameter, device=noise.device)
    if parameter.dim() < 2:
        return value.fill_(float(name == "weight"))
    scaled = (noise / parameter[0].numel() ** 0.5).to(value.dtype)
    for part in value.view(-1).split(BLOCK):
        part.copy_(scaled[: len(part)])
    return value
