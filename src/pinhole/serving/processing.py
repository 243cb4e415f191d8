"""What vLLM's API server must know: how many placeholders an image has, and what tells cached images apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vllm.multimodal.processing import BaseMultiModalProcessor

from pinhole.serving.reducer import Reducer
from pinhole.serving.settings import KEY


class ReducedPrompt(BaseMultiModalProcessor):
    """A model's own processor, with m placeholders for an image or video of n visual tokens."""

    @functools.cached_property
    def reducer(self) -> Reducer:
        """The method and the model that it works on."""
        return Reducer.of(self.info.get_hf_config())

    @functools.cached_property
    def _identity(self) -> str:
        return self.reducer.identity()

    def _get_mm_hashes(self, inputs: Any) -> Any:
        options = {**inputs.hf_processor_mm_kwargs, KEY: self._identity}
        return super()._get_mm_hashes(dataclasses.replace(inputs, hf_processor_mm_kwargs=options))

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        updates = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        return [
            dataclasses.replace(
                update,
                replacement=functools.partial(self._fewer, update.modality, update.replacement, out_mm_kwargs),
            )
            for update in updates
        ]

    def _fewer(self, modality: str, whole: Callable[[int], list[int]], items: Any, index: int) -> list[int]:
        placeholders = whole(index)
        inputs = {name: value.data[None] for name, value in items[modality][index].items()}
        return placeholders[: self.reducer.count(modality, len(placeholders), inputs)]
