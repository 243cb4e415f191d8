"""What vLLM's workers do: the encoder reads n visual tokens, the LLM m."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any

import torch
import vllm

from pinhole.families.first_layer import of_prompt
from pinhole.reduction import Reduction
from pinhole.serving import untested
from pinhole.serving.encoder_attention import recorded
from pinhole.serving.first_look import LAYERS, first_look, refuse_question
from pinhole.serving.question import asked_input
from pinhole.serving.reducer import Reducer, numbered

logger = logging.getLogger(__name__)


class ReducedModel(ABC):
    """A mixin before one of vLLM's models.

    Attributes:
        reducer: the method, and the model that it works on.
    """

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        if warning := untested(vllm.__version__):
            logger.warning(warning)
        reducer = Reducer.of(vllm_config.model_config.hf_config)
        refuse_options(vllm_config, reducer)
        if reducer.reads_question:
            refuse_question(vllm_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        self.reducer = reducer
        if reducer.reads_question and not isinstance(layer := self._llm.layers[0], LAYERS):
            raise ValueError(f"{reducer.method.name} cannot be served: it reads no {type(layer).__name__} of vLLM")

    @property
    @abstractmethod
    def encoder_attention(self) -> torch.nn.Module:
        """vLLM's attention (`MMEncoderAttention`) in the layer whose output the projector reads."""

    def embed_multimodal(self, **kwargs: Any) -> list[torch.Tensor]:
        """(m_i, d) of each image, or of each video; vLLM gives one kind at a time."""
        return [tokens for _, tokens in self.reduced(kwargs)[1]]

    def reduced(self, inputs: dict[str, Any]) -> tuple[str, list[tuple[Reduction, torch.Tensor]]]:
        """The modality of the images or videos in the encoder's inputs, what was decided for each, and its tokens."""
        family, method = self.reducer.family, self.reducer.method
        [modality] = [name for name, pixels in family.pixel_inputs.items() if inputs.get(pixels) is not None]
        encoder = family.encoder({})
        needs = method.needs - of_prompt(method.needs)
        with recorded(self.encoder_attention, needs, encoder.dropped if encoder else 0) as calls:
            features = super().embed_multimodal(**inputs)  # type: ignore[misc]
        entries = [x.reshape(-1, x.shape[-1]) for x in features]
        looks = self._looks(modality, entries, inputs) if self.reducer.reads_question else None
        return modality, self.reducer.reduce(modality, entries, inputs, calls, looks)

    @property
    def _llm(self) -> Any:
        return self.get_language_model().model  # type: ignore[attr-defined]

    def _looks(self, modality: str, entries: list[torch.Tensor], inputs: dict[str, Any]) -> list[torch.Tensor]:
        """(n_i, T_i) of each image or video: each is the only one in the prompt of its first turn."""
        family, looks = self.reducer.family, []
        token = family.token_id(modality)
        for i, (x, asked) in enumerate(zip(entries, inputs[asked_input(modality)], strict=True)):
            place = asked.tolist().index(token)
            before, question = asked[:place], asked[place + 1 :]
            grids = {name: inputs[name][i : i + 1].cpu() for name in family.spent_inputs if name in inputs}
            positions = numbered(family, [*before.tolist(), *[token] * len(x), *question.tolist()], grids)
            looks.append(first_look(self._llm, before, x, question, positions))
        return looks


def refuse_options(vllm_config: Any, reducer: Reducer) -> None:
    """Refuse options of vLLM under which tokens would be left out wrongly, before anything is loaded.

    Raises:
        ValueError: one is set; the message names it.
    """
    multimodal = vllm_config.model_config.get_multimodal_config()
    lora = vllm_config.lora_config
    refused = {
        "--enable-mm-embeds: features that a client sends were not encoded here": multimodal.enable_mm_embeds,
        "--video-pruning-rate: the method decides what remains of a video": multimodal.video_pruning_rate,
        "--enable-tower-connector-lora: an adapter of the encoder counts tokens behind the method": (
            lora is not None and lora.enable_tower_connector_lora
        ),
        "CUDA graphs of the encoder (cudagraph_mm_encoder): they pass the method by": (
            vllm_config.compilation_config.cudagraph_mm_encoder
        ),
        f"--mm-encoder-tp-mode data: {reducer.method.name} reads the encoder's attention to every image": (
            bool(reducer.method.needs - of_prompt(reducer.method.needs)) and multimodal.mm_encoder_tp_mode == "data"
        ),
    }
    for reason, is_set in refused.items():
        if is_set:
            raise ValueError(f"cannot be served with {reason}")
