"""Adapters that were never trained: LoRA with weights that change what a model says, as a training run leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PreTrainedModel

from pinhole.adapters import Adapter
from pinhole.families import family_of
from pinhole.methods.adsc import ADSC
from pinhole.training.bottleneck import targets_of

SCHEDULE = ((1, 0.5), (2, 0.25))
TARGETS = "q_proj,k_proj,v_proj,o_proj"


def adapter(model: PreTrainedModel, seed: int = 0, targets: str = TARGETS, rank: int = 4, size: float = 1.0) -> Adapter:
    """LoRA with random matrices, neither of them zero."""
    family = family_of(model)
    made = Adapter(family, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets_of(family, targets)))
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.weights.values():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data = (size * noise / parameter.shape[1] ** 0.5).to(parameter.dtype)
    return made


def saved(folder: Path, made: Adapter, schedule: object = SCHEDULE, positions: str = "original") -> ADSC:
    """The method, loaded from a folder with an adapter and a schedule."""
    made.save(folder)
    told = {"method": "adsc", "schedule": schedule, "positions": positions}
    (folder / "config.json").write_text(json.dumps(told))
    return ADSC.from_pretrained(folder)
