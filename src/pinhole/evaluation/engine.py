"""What can answer dialogues in the place of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch

from pinhole.data import Dialogue
from pinhole.evaluation.contender import Contender

if TYPE_CHECKING:
    from pinhole.evaluation.runner import EvalSettings


class Read(NamedTuple):
    """What a model reads in the first turn of a dialogue.

    Attributes:
        sizes: [visual tokens, kept tokens] of each image and video.
        text_tokens: tokens of the prompt that are not visual.
    """

    sizes: list[list[int]]
    text_tokens: int


class Batch(Protocol):
    """Dialogues of equal length that are held together; their contexts grow turn by turn."""

    def ask(self, texts: list[str]) -> torch.Tensor:
        """(B, T) ids of the answers; behind an end of sequence they mean nothing.

        Args:
            texts: what each dialogue's context grows by; the images and videos go with those of the first turn.
        """

    def retract(self) -> None:
        """Forget the latest answers, so that others can take their place in the next texts."""

    def read(self) -> list[Read]:
        """What was read of each dialogue, once the first turn was asked."""


class Engine(Protocol):
    """Runs a model that is not loaded here."""

    def check(self, contenders: Sequence[Contender]) -> None:
        """Refuse what it cannot run, before anything starts.

        Raises:
            ValueError: a contender that it cannot run; the message says why.
            ImportError: it is not installed.
        """

    def described(self) -> dict[str, Any]:
        """What the answers depend on beside the model and how dialogues are held; "engine" names it."""

    def batch(self, contender: Contender, dialogues: list[Dialogue], settings: EvalSettings) -> Batch:
        """Dialogues before their first turn."""
