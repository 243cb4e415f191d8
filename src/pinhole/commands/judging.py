"""The options of `pinhole eval` that say which model judges answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pinhole.options import parse_settings

if TYPE_CHECKING:
    from pinhole.evaluation.judge import Judge


@dataclass(frozen=True)
class Judging:
    """The judge, for data sets whose answers a model compares with references, such as ConvBench."""

    judge: Annotated[
        str | None, typer.Option(help="OpenAI-compatible address of the judge, such as http://localhost:8000/v1.")
    ] = None
    judge_model: Annotated[str | None, typer.Option(help="The judge's name at that address.")] = None
    judge_key: Annotated[
        str, typer.Option(help="Environment variable with the key of the service, where it asks for one.")
    ] = "OPENAI_API_KEY"
    judge_options: Annotated[
        list[str] | None, typer.Option(help="What each request says, name=value; unset, temperature=0.")
    ] = None
    judge_swap: Annotated[bool, typer.Option(help="Judge each pair of answers in both orders, or in one.")] = True
    judge_workers: Annotated[int, typer.Option(help="Requests to the judge at once.")] = 8

    def judge_in(self, out: Path) -> Judge | None:
        """The judge, who keeps what it says in this folder; None where no address is given.

        Raises:
            ValueError: an address without a name, or a name without an address.
        """
        from pinhole.evaluation.endpoint import Endpoint
        from pinhole.evaluation.judge import Judge

        if (self.judge is None) != (self.judge_model is None):
            raise ValueError("--judge and --judge-model go together")
        if self.judge is None or self.judge_model is None:
            return None
        options = parse_settings(self.judge_options) if self.judge_options else {"temperature": 0}
        endpoint = Endpoint(self.judge, self.judge_model, os.environ.get(self.judge_key), options)
        return Judge(endpoint, out / "judgements.jsonl", swap=self.judge_swap, workers=self.judge_workers)
