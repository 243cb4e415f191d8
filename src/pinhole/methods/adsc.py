"""ADSC: visual tokens are thinned out evenly at some layers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from pinhole.budget import kept_tokens
from pinhole.hub import SETTINGS, adapter_folder
from pinhole.layer_method import LayerMethod, LayerTokens, are_falling_shares, check_cuts, in_proportion
from pinhole.reduction import Reduction

_CUTS, _SHARES = (2, 7), (0.5, 0.25)


@dataclass(frozen=True)
class ADSC(LayerMethod):
    """At each layer of a schedule keep equidistant ones of the tokens that are left: of n the token
    floor((i + 1/2) n / m), the middle of its stretch, for i < m. Nothing is scored and no attention is looked at.

    "Vision Token Reduction via Attention-Driven Self-Compression for Efficient Multimodal Large Language Models", arXiv
    2602.12618: uniform downsampling at selected layers. The authors train the LLM along with it, with LoRA, so that it
    moves what it needs into the tokens that stay: `pinhole train --method adsc` does (see
    `pinhole.training.bottleneck`), and `from_pretrained` loads what was learned. Without an adapter this is the
    schedule alone, for a model as it is, or for one into which an adapter was merged.

    Where the paper is silent, these are our choices: positions stay as they were, the first token lies in the middle of
    its stretch, and the schedule. Its default, half of the tokens from layer 2 and a quarter from layer 7 of 32 on,
    leaves a third of them on average over the layers (the paper: -66.7 %). A LLaVA-1.5-7B with 576 visual and 64 text
    tokens then has 60.3 % less FLOPs and 59.8 % less KV cache; the paper reports 53.7 % and 56.7 % for its prompts.

    Attributes:
        schedule: pairs of a decoder layer, from 0, and the share of the visual tokens at the LLM's input that remains
            from there on, or a dict of such; None is the default at the same shares of the depth.
        adapter: folder with the LoRA weights that the LLM reads with while this method is at work; None for none.
    """

    name = "adsc"
    paper = "ADSC, 2026, arXiv 2602.12618"
    recipe: ClassVar[str | None] = "bottleneck"
    schedule: tuple[tuple[int, float], ...] | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule is not None:
            object.__setattr__(self, "schedule", _checked(self.name, self.schedule))

    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self:
        """The schedule and the adapter that a training run has left.

        Args:
            source: folder or hub name.
            settings: that take the place of those saved.

        Raises:
            ValueError: nothing of the kind is there.
        """
        folder = adapter_folder(str(source))
        try:
            told = json.loads((folder / SETTINGS).read_text())
            saved = {name: told[name] for name in ("positions", "schedule")}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{SETTINGS} in {source} is not one of {cls.name}: {error!r}") from error
        return cls(**{**saved, "adapter": str(folder), **settings})

    def cuts(self, layers: int) -> tuple[int, ...]:
        """The schedule's layers."""
        cuts = in_proportion(_CUTS, layers) if self.schedule is None else [cut for cut, _ in self.schedule]
        return check_cuts(self.name, cuts, layers)

    def count(self, cut: int, before: int) -> int:
        """`kept_tokens(before, share)`."""
        return kept_tokens(before, self._shares[cut])

    @property
    def _shares(self) -> tuple[float, ...]:
        return _SHARES if self.schedule is None else tuple(share for _, share in self.schedule)

    def at(self, share: float, layers: int) -> Self:
        """`share` is that of the first cut; the others stay in proportion to it."""
        shares = (share * other / self._shares[0] for other in self._shares)
        return replace(self, schedule=tuple(zip(self.cuts(layers), shares, strict=True)))

    def towards(self, progress: float, layers: int) -> Self:
        """The schedule on its way from keeping everything (progress 0) to its own shares (1), share by share."""
        shares = (min(1.0, share + (1 - progress) * (1 - share)) for share in self._shares)
        return replace(self, schedule=tuple(zip(self.cuts(layers), shares, strict=True)))

    def reduce(self, tokens: LayerTokens) -> Reduction:
        """The middle of each of m equal stretches."""
        n, m = tokens.n, self.count(tokens.cut, tokens.before)
        return Reduction.select((2 * torch.arange(m, device=tokens.hidden.device) + 1) * n // (2 * m), n)


def _checked(name: str, schedule: Any) -> tuple[tuple[int, float], ...]:
    """The schedule as pairs.

    Raises:
        ValueError: its layers do not rise, or its shares are none or rise.
    """
    try:
        pairs = tuple(dict(schedule).items())
    except (TypeError, ValueError):
        pairs = ()
    if not are_falling_shares([share for _, share in pairs]):
        raise ValueError(
            f"{name}'s schedule has layers and the shares in (0, 1] that remain from there on, none larger than the "
            f"one before, such as {{8: 0.5, 16: 0.25}}; got {schedule!r}"
        )
    check_cuts(name, [cut for cut, _ in pairs])
    return pairs
