"""Gemma 3: `Gemma3ForConditionalGeneration`, one square image of fixed size, 1-D RoPE, windows in most LLM layers."""

from __future__ import annotations

from typing import ClassVar

from pinhole.families.base import Family


class Gemma3(Family):
    """SigLIP features averaged over squares of patches; an image's tokens see each other in both directions.

    In a batch of dialogues, the padding between turns takes room in the LLM's windows (1024 tokens in the checkpoints).
    Where the processor adds crops ("pan and scan"), each of them is an image of its own.
    """

    stacked: ClassVar[frozenset[str]] = frozenset({"image"})
    token_inputs: ClassVar[tuple[str, ...]] = ("token_type_ids",)
