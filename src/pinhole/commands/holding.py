"""The options of `pinhole eval` that say how dialogues are held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pinhole.completion import among
from pinhole.scope import Scope

if TYPE_CHECKING:
    from pinhole.evaluation.runner import EvalSettings


@dataclass(frozen=True)
class Holding:
    """What later turns see, and how much is read and said."""

    history: Annotated[
        str,
        typer.Option(
            help="What later turns see: the model's own answers, or the gold ones.", autocompletion=among("own", "gold")
        ),
    ] = "own"
    max_new_tokens: Annotated[int, typer.Option(help="Limit of one answer.")] = 16
    batch: Annotated[int, typer.Option(help="Dialogues held at once; with vllm, hundreds.")] = 25
    frames: Annotated[int | None, typer.Option(help="The most frames that are read of a video; unset, 32.")] = None

    def settings(self, scope: Scope) -> EvalSettings:
        """These as settings of an evaluation.

        Raises:
            ValueError: a value that is not allowed.
        """
        from pinhole.evaluation.runner import EvalSettings

        return EvalSettings(self.history, self.max_new_tokens, self.batch, scope, self.frames)  # type: ignore[arg-type]
