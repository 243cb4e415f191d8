"""The options of `pinhole eval` that say what runs the model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinhole.completion import among
from pinhole.options import Checkpoint, Reading, parse_settings

if TYPE_CHECKING:
    from pinhole.data import Dialogue
    from pinhole.evaluation.engine import Engine
    from pinhole.launch import Share

NAMES = ("transformers", "vllm")
INSTEAD = {
    "device": "vLLM runs on what it was built for",
    "device_map": "give --engine-options tensor_parallel_size=2 or alike",
    "attention": "give --engine-options attention_backend=NAME",
    "quantize": "give --engine-options quantization=NAME",
}
"""For each option that says how transformers loads a model, what to do with vLLM."""


@dataclass(frozen=True)
class Engines:
    """The engine, and its own options."""

    engine: Annotated[
        str,
        typer.Option(
            help="transformers, or vllm where it is installed: methods at the LLM's input, no times.",
            autocompletion=among(*NAMES),
        ),
    ] = "transformers"
    engine_options: Annotated[
        list[str] | None, typer.Option(help="vLLM's own, name=value: gpu_memory_utilization=0.8 max_model_len=4096.")
    ] = None

    def check(self, checkpoint: Checkpoint, reading: Reading, match: str, data: Path | None) -> None:
        """Refuse options that have no meaning with this engine, and another engine where there are no dialogues.

        Raises:
            ValueError: one is given; the message says what to do.
        """
        if self.engine not in NAMES:
            raise ValueError(f"--engine is {' or '.join(NAMES)}, got {self.engine!r}")
        if self.engine == "transformers":
            if self.engine_options:
                raise ValueError("--engine-options are for --engine vllm")
            return
        from pinhole.loading import SHIPPED

        if data is None:
            raise ValueError("--engine is for dialogues: leave it out with --tasks")
        for name, hint in INSTEAD.items():
            if getattr(checkpoint, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} is not for --engine vllm: {hint}")
        if checkpoint.model in SHIPPED:
            raise ValueError("vLLM does not read the embedded model's weights: give a --model as published")
        if match != "keep":
            raise ValueError(f"--match {match} chooses settings of methods inside the LLM, which vLLM does not run")
        if reading != Reading(positions=reading.positions):
            raise ValueError("vLLM reduces videos as a whole and separators like other tokens: leave these options out")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "start vLLM in one process: it takes several GPUs by --engine-options tensor_parallel_size=2"
            )

    @contextlib.contextmanager
    def load(
        self, checkpoint: Checkpoint, reading: Reading, dialogues: list[Dialogue], progress: bool
    ) -> Iterator[tuple[Any, Any, Engine | None, Share]]:
        """Model and processor, what runs the model where transformers does not, and which process this is.

        Raises:
            ValueError: a model or options that cannot be used.
        """
        from pinhole.launch import Share

        if self.engine == "transformers":
            model, processor = checkpoint.load(progress)
            yield model, processor, None, Share.of_launch(model)
            return
        from pinhole.serving.served import Served
        from pinhole.serving.unloaded import unloaded

        model, processor = unloaded(checkpoint.model, checkpoint.dtype)
        counts = {"image": [len(one.images) for one in dialogues], "video": [len(one.videos) for one in dialogues]}
        most = {modality: max(found, default=0) for modality, found in counts.items()}
        options = parse_settings(self.engine_options or [])
        with Served(checkpoint.model, model, processor, most, options) as engine:
            if reading.positions not in (None, engine.family.positions):
                raise ValueError(
                    f"vLLM leaves the positions of this model {engine.family.positions}: leave --positions out"
                )
            yield model, processor, engine, Share()
