"""vLLM as what answers in an evaluation, in the place of transformers; nothing here imports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.evaluation.contender import Contender, split_specs
from pinhole.evaluation.runner import EvalSettings
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.serving.command import vllm_version
from pinhole.serving.engine_process import EngineProcess
from pinhole.serving.greedy import check_generation
from pinhole.serving.in_engine import InEngine
from pinhole.serving.servable import servable
from pinhole.serving.settings import Settings

OWN = {
    "enable_prefix_caching": True,
    "generation_config": "vllm",
    "mm_device_do_normalize": False,
    "use_tqdm_on_load": False,
}
"""Options of vLLM unless the user has others: what answers start with is in the cache, and pixels are normalised where
transformers does it, so that `random` chooses the same tokens."""
RESERVED = ("model", "dtype", "hf_overrides", "trust_remote_code")
"""Options that follow from those of Pinhole, or that it never sets."""
WITHIN_ROUNDING = {
    "block_size", "cpu_offload_gb", "disable_custom_all_reduce", "disable_log_stats", "enable_chunked_prefill",
    "enable_prefix_caching", "enforce_eager", "gpu_memory_utilization", "kv_cache_memory_bytes", "limit_mm_per_prompt",
    "max_model_len", "max_num_batched_tokens", "max_num_seqs", "mm_processor_cache_gb", "pipeline_parallel_size",
    "tensor_parallel_size", "use_tqdm_on_load",
}  # fmt: skip
"""Options of which the answers do not depend, beyond rounding."""


@dataclass(eq=False)
class Served:
    """An engine of vLLM at a time, for one contender; use as a context manager.

    Attributes:
        name: checkpoint folder or hub name.
        model: the checkpoint without its weights.
        processor: its own.
        most: images and videos that a dialogue has at most, by modality.
        options: the user's, of `vllm.LLM`.

    Raises:
        ValueError: options that are Pinhole's to set, or a checkpoint that answers otherwise on vLLM.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    most: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if taken := sorted({*RESERVED} & self.options.keys()):
            raise ValueError(
                f"--engine-options cannot set {', '.join(taken)}: --model, --dtype and --methods decide that"
            )
        check_generation(self.model)
        self.family: Family = family_of(self.model)
        self._running: tuple[str, EngineProcess] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop(at_once=kind is not None)

    def check(self, contenders: Sequence[Contender]) -> None:
        """As `Engine.check`."""
        for contender in contenders:
            for spec in split_specs(contender.spec):
                servable(Settings(spec, contender.keep), self.family)
        vllm_version()

    def described(self) -> dict[str, Any]:
        """As `Engine.described`. vLLM chooses the attention by itself."""
        told = {name: value for name, value in sorted(self.options.items()) if name not in WITHIN_ROUNDING}
        return {"engine": "vllm", "attention": None, **({"engine_options": told} if told else {})}

    def batch(self, contender: Contender, dialogues: list[Dialogue], settings: EvalSettings) -> InEngine:
        """As `Engine.batch`; where the engine is another contender's, that one ends and a new one starts."""
        if self._running is None or self._running[0] != contender.key:
            self._stop()
            overrides = Settings(contender.spec, contender.keep).overrides(self.model.config.model_type)
            shown = {modality: self.most[modality] for modality in self.family.modalities}
            given = {**OWN, "limit_mm_per_prompt": shown, **self.options}
            dtype = str(self.model.dtype).removeprefix("torch.")
            process = EngineProcess(self.name, {**given, "dtype": dtype, "hf_overrides": overrides})
            self._running = contender.key, process
        return InEngine(self.family, self.processor, self._running[1], contender, dialogues, settings)

    def _stop(self, at_once: bool = False) -> None:
        if self._running:
            self._running[1].stop(at_once)
            self._running = None
