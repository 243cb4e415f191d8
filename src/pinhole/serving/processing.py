"""What vLLM's API server must know: how many placeholders an image has, and what tells cached images apart."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.processing import BaseMultiModalProcessor

from pinhole.serving.question import ASKED, asked_input, first_turn, opening
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

    @functools.cached_property
    def _opening(self) -> list[int]:
        return opening(self.info.get_hf_processor())

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> Any:
        """What memory is measured with: images without words, of which the question is an empty one."""
        dummy = super().get_dummy_inputs(*args, **kwargs)
        return self._asking(dummy, [*dummy.prompt, *self._opening]) if self.reducer.reads_question else dummy

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """As of every processor. The first question goes along with the image, and into what caches call it."""
        given = isinstance(inputs.hf_processor_mm_kwargs.get(ASKED), torch.Tensor)  # never in what a client sends
        if self.reducer.reads_question and any(inputs.mm_data_items.get_all_counts().values()) and not given:
            family = self.reducer.family
            placeholders = {family.token_id(modality) for modality in family.modalities}
            inputs = self._asking(inputs, first_turn(inputs.prompt, placeholders, self._opening))
        return super().apply(inputs, timing_ctx)

    @staticmethod
    def _asking(inputs: Any, asked: list[int]) -> Any:
        options = {**inputs.hf_processor_mm_kwargs, ASKED: torch.tensor(asked)}
        return dataclasses.replace(inputs, hf_processor_mm_kwargs=options)

    def _call_hf_processor(self, hf_data: Any, hf_kwargs: Mapping[str, object]) -> Any:
        return super()._call_hf_processor(hf_data, _without_question(hf_kwargs))

    def _postprocess_hf_mm_data(self, mm_inputs: Any, hf_processor_mm_kwargs: Any, processed_data: Any) -> Any:
        data = super()._postprocess_hf_mm_data(mm_inputs, hf_processor_mm_kwargs, processed_data)
        if self.reducer.reads_question:
            for modality, pixels in self.reducer.family.pixel_inputs.items():
                if pixels in data:
                    data[asked_input(modality)] = [hf_processor_mm_kwargs[ASKED]]
        return data

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Any) -> Any:
        asked = MultiModalFieldConfig.batched
        fields = {asked_input(name): asked(name, keep_on_cpu=True) for name in self.reducer.family.modalities}
        return {**super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs), **fields}

    def _get_mm_hashes(self, inputs: Any) -> Any:
        options = {**inputs.hf_processor_mm_kwargs, KEY: self._identity}
        return super()._get_mm_hashes(dataclasses.replace(inputs, hf_processor_mm_kwargs=options))

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        updates = super()._get_prompt_updates(mm_items, _without_question(hf_processor_mm_kwargs), out_mm_kwargs)
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


def _without_question(options: Mapping[str, object]) -> dict[str, object]:
    """The options that are for the model's own processor."""
    return {name: value for name, value in options.items() if name != ASKED}
