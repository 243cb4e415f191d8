"""Reducer: from what an encoder gave to what the LLM reads, with nothing of vLLM."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

import torch
from transformers import AutoModelForImageTextToText, PretrainedConfig

from pinhole.decide import decide
from pinhole.families import check_supported, family_of
from pinhole.families.base import Family
from pinhole.families.first_layer import FIRST
from pinhole.families.parts import Visual
from pinhole.method import InputMethod
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.serving.servable import servable
from pinhole.serving.settings import Settings
from pinhole.visual import VisualTokens


@dataclass(frozen=True, eq=False)
class Reducer:
    """A method on one model.

    Attributes:
        family: of transformers' model of the same configuration, on the meta device: it knows where tokens come from
            and how they are numbered, and computes nothing.
        method: decides.
    """

    family: Family
    method: InputMethod

    @classmethod
    def of(cls, config: PretrainedConfig) -> Self:
        """As the settings in a model's configuration say.

        Raises:
            ValueError: there are none, or they cannot be served.
        """
        settings, family = Settings.of(config), blueprint(config)
        return cls(family, servable(settings, family))

    def identity(self) -> str:
        """What decides which tokens remain, weights included, as one line: a part of vLLM's cache keys."""
        digest = hashlib.sha256()
        if isinstance(self.method, torch.nn.Module):
            for name, weights in sorted(self.method.state_dict().items()):
                digest.update(name.encode() + weights.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        settings = {"method": self.method.name, "keep": self.method.keep, **self.method.settings()}
        return json.dumps({**settings, "weights": digest.hexdigest()}, sort_keys=True)

    @property
    def reads_question(self) -> bool:
        """Whether the method reads what the question looks at."""
        return FIRST in self.method.needs

    def count(self, modality: str, n: int, inputs: dict[str, Any]) -> int:
        """m, the visual tokens that remain of one image or video of n.

        Args:
            modality: "image" or "video".
            n: visual tokens as encoded.
            inputs: of the encoder, for this image or video alone; pixels of the right shape are enough.

        Raises:
            ValueError: `keep` is a count above n.
        """
        [layout] = self.family.layouts(modality, inputs, [n])
        m = self.method.count(n, layout)
        assert m is not None, f"{self.method.name} does not know its count"
        return m

    @torch.no_grad()
    def reduce(
        self,
        modality: str,
        features: list[torch.Tensor],
        inputs: dict[str, Any],
        calls: dict[str, list[torch.Tensor]],
        looks: list[torch.Tensor] | None = None,
    ) -> list[tuple[Reduction, torch.Tensor]]:
        """What was decided for each image or video, and its visual tokens (m_i, d).

        Args:
            modality: "image" or "video".
            features: (n_i, d) of each.
            inputs: of the encoder, for all of them.
            calls: the method's cues of the encoder's patches, as `pinhole.families.cues.recorded` collects them.
            looks: (n_i, T_i) `first_layer_attention` of each, where the method reads it.
        """
        if isinstance(self.method, torch.nn.Module):
            self.method.to(features[0].device)
        lengths = [len(x) for x in features]
        layouts = self.family.layouts(modality, inputs, lengths)
        pixels = self.family.pixels(modality, inputs, lengths)
        cues = {name: self._per_token(modality, inputs, parts, lengths) for name, parts in calls.items()}
        cues |= {FIRST: tuple(looks)} if looks else {}
        answers = []
        for i, x in enumerate(features):
            tokens = VisualTokens(x, layouts[i], pixels[i], {name: cue[i] for name, cue in cues.items()})
            reduction = decide(self.method, Visual(tokens, modality, 0, torch.arange(len(x))), Scope())
            answers.append((reduction, reduction.apply(x)))
        return answers

    def _per_token(
        self, modality: str, inputs: dict[str, Any], parts: list[torch.Tensor], lengths: list[int]
    ) -> tuple[torch.Tensor, ...]:
        patches = torch.cat(parts)
        values = self.family.per_token(modality, inputs, patches.reshape(len(patches), -1))
        return values.reshape(-1, *patches.shape[1:]).split(lengths)


def blueprint(config: PretrainedConfig) -> Family:
    """The family of a model that is not loaded: of transformers' model without weights.

    Raises:
        ValueError: its model type is not supported.
    """
    check_supported(config.model_type)
    with torch.device("meta"):
        return family_of(AutoModelForImageTextToText.from_config(copy.deepcopy(config)))


def numbered(family: Family, ids: list[int], grids: dict[str, torch.Tensor]) -> torch.Tensor:
    """(3, L) or (L,) positions of a prompt before anything is left out, as `family` numbers it."""
    row = torch.tensor([ids])
    return family.full_positions({"input_ids": row, **grids}, torch.ones_like(row))[..., 0, :]
