"""VilaConfig: the sizes of a VILA-1.5 model."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from transformers import LlamaConfig, PreTrainedConfig, SiglipVisionConfig
from transformers.configuration_utils import SubConfigSpec

_PROJECTORS = re.compile(r"linear|mlp_downsample|mlp[1-9]x_gelu")


class VilaConfig(PreTrainedConfig):
    """Sizes of the SigLIP vision tower, the projector and the Llama of VILA-1.5 (arXiv 2312.07533).

    Args:
        vision_config: a `SiglipVisionConfig` or its dict. Its pooling head is left out: VILA does not read it.
        text_config: a `LlamaConfig` or its dict.
        image_token_id: the token that stands for one visual token in the prompt, a row of the embedding table.
        projector_type: "mlp_downsample" (2x2 patches become one token), "linear" or "mlp<depth>x_gelu".
        vision_feature_layer: index of the vision tower's hidden states that the projector reads.

    Raises:
        ValueError: an unknown projector type.
    """

    model_type = "vila"
    sub_configs_defaults: ClassVar = {
        "vision_config": SubConfigSpec(SiglipVisionConfig),
        "text_config": SubConfigSpec(LlamaConfig),
    }

    vision_config: Any = None
    text_config: Any = None
    image_token_id: int = 32000
    projector_type: str = "mlp_downsample"
    vision_feature_layer: int = -2
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs) -> None:
        super().__post_init__(**kwargs)
        if not _PROJECTORS.fullmatch(self.projector_type):
            raise ValueError(
                f"no projector {self.projector_type!r}: VILA has 'linear', 'mlp_downsample' and 'mlp<depth>x_gelu'"
            )
        self.vision_config.vision_use_head = False
        self.tie_word_embeddings = self.text_config.tie_word_embeddings

    @property
    def image_seq_length(self) -> int:
        """Visual tokens of one image."""
        side = self.vision_config.image_size // self.vision_config.patch_size
        return ((side + 1) // 2) ** 2 if self.projector_type == "mlp_downsample" else side**2
