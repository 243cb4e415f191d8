"""M-RoPE: visual tokens that remain keep the position that their anchor has in the picture.

The anchors are known once the encoder has run, and vLLM numbers a prompt before. So a prompt is numbered as if nothing
had left, with every visual token at the place where its image starts; an image's features carry how far from there each
token's anchor lies, and the model adds that where its LLM reads them. What follows an image does not depend on what was
kept, so that a later turn is right with the image in the prefix cache, where its features are not looked at.
"""

from __future__ import annotations

from typing import Any

import torch

from pinhole.serving.model import ReducedModel
from pinhole.serving.reducer import numbered

DIGITS = 2
"""Numbers that hold one offset: its digits to the base 256, which every float format holds exactly."""
CHANNELS = 3 * DIGITS
"""Numbers behind a visual token's features: its offsets along time, height and width."""


class ReducedMRope(ReducedModel):
    """A mixin before one of vLLM's models with M-RoPE.

    Between `embed_input_ids` and `forward`, which vLLM calls one after the other in each step, the model holds the
    offsets of the step's visual tokens.
    """

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        refuse_parallel(vllm_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._moved: tuple[torch.Tensor, torch.Tensor] | None = None

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
        """(3, L) positions of a prompt of L tokens, and what to add to a count of tokens for those that follow."""
        whole: list[int] = []
        source: list[int] = []
        grids: dict[str, list[torch.Tensor]] = {}
        family, start = self.reducer.family, 0
        for feature in sorted(mm_features, key=lambda feature: feature.mm_position.offset):
            place = feature.mm_position
            text = input_tokens[start : place.offset]
            source += [*range(len(whole), len(whole) + len(text)), *[len(whole) + len(text)] * place.length]
            grid = feature.data[f"{feature.modality}_grid_thw"].data
            n = int(grid.prod()) // family.model.config.vision_config.spatial_merge_size**2
            whole += [*text, *[family.token_id(feature.modality)] * n]
            for name, value in feature.data.items():
                if name in family.spent_inputs:
                    grids.setdefault(name, []).append(value.data)
            start = place.offset + place.length
        source += range(len(whole), len(whole) + len(input_tokens) - start)
        whole += [*input_tokens[start:], 0]  # and the token that follows
        positions = numbered(family, whole, {name: torch.stack(values) for name, values in grids.items()})
        return positions[:, source], int(positions[0, -1]) - len(input_tokens)

    def embed_multimodal(self, **kwargs: Any) -> list[torch.Tensor]:
        """(m_i, d + CHANNELS) of each image, or of each video."""
        modality, answers = self.reduced(kwargs)
        family, outputs = self.reducer.family, []
        for i, (reduction, tokens) in enumerate(answers):
            grids = {name: kwargs[name][i : i + 1].cpu() for name in family.spent_inputs if name in kwargs}
            offsets = numbered(family, [family.token_id(modality)] * reduction.n, grids)[:, reduction.anchors.cpu()].T
            digits = torch.stack([offsets % 256, offsets // 256], -1).flatten(1)
            outputs.append(torch.cat([tokens, digits.to(tokens)], 1))
        return outputs

    def embed_input_ids(
        self, input_ids: torch.Tensor, multimodal_embeddings: Any = None, *, is_multimodal: Any = None
    ) -> torch.Tensor:
        """(T, d) embeddings of a step's tokens; the offsets that came with features wait for `forward`."""
        self._moved = None
        if multimodal_embeddings is not None and len(multimodal_embeddings):
            digits = torch.cat([x[:, -CHANNELS:] for x in multimodal_embeddings]).long().unflatten(1, (3, DIGITS))
            self._moved = is_multimodal, (digits[..., 0] + 256 * digits[..., 1]).T
            multimodal_embeddings = [x[:, :-CHANNELS] for x in multimodal_embeddings]
        return super().embed_input_ids(input_ids, multimodal_embeddings, is_multimodal=is_multimodal)  # type: ignore[misc]

    def forward(self, input_ids: Any, positions: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """As vLLM's model; `positions` is changed in place: CUDA graphs read that very tensor, each step anew."""
        if self._moved is not None:
            places, offsets = self._moved
            self._moved = None
            positions[:, places.nonzero()[:, 0].to(positions.device)] += offsets.to(positions)
        return super().forward(input_ids, positions, *args, **kwargs)  # type: ignore[misc]


def refuse_parallel(vllm_config: Any) -> None:
    """Refuse ways to run in which features and positions do not meet.

    Raises:
        ValueError: one is set; the message names it.
    """
    graphs = vllm_config.compilation_config.cudagraph_mode
    refused = {
        "--pipeline-parallel-size above 1: only the first stage reads features, and all number the tokens": (
            vllm_config.parallel_config.pipeline_parallel_size > 1
        ),
        "--enable-dbo: each half of a step would read positions of its own": vllm_config.parallel_config.enable_dbo,
        "speculative decoding: its draft model reads features with their positions": vllm_config.speculative_config,
        "CUDA graphs of whole prefills (cudagraph_mode FULL): set FULL_AND_PIECEWISE": (
            graphs is not None and graphs.mixed_mode().name == "FULL"
        ),
    }
    for reason, is_set in refused.items():
        if is_set:
            raise ValueError(f"models with M-RoPE cannot be served with {reason}")
