"""Configuration of InternLM-XComposer-2.5. The defaults are the 7B checkpoint's."""

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

CLIP_LARGE_560 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 560,
    "patch_size": 14,
    "projection_dim": 768,
}
"""Sizes of CLIP ViT-L/14 at 560 pixels, whose position embeddings were trained at that size."""


@strict
class XComposer2TextConfig(LlamaConfig):
    """InternLM2 with partial LoRA: a Llama whose linear layers have an addition for image tokens.

    Attributes:
        plora_rank: rank of that addition.
        plora_alpha: its weight is `plora_alpha / plora_rank`.
    """

    model_type = "xcomposer2_text"
    base_config_key = "text_config"
    base_model_tp_plan = None
    base_model_pp_plan = None

    vocab_size: int = 92544
    intermediate_size: int = 14336
    num_key_value_heads: int = 8
    max_position_embeddings: int = 32768
    rms_norm_eps: float = 1e-5
    pad_token_id: int | None = 2
    rope_parameters: dict[str, Any] | None = None
    plora_rank: int = 256
    plora_alpha: int | float = 256
    default_theta = 1000000.0


@strict
class XComposer2Config(PreTrainedConfig):
    """InternLM-XComposer-2.5 (arXiv 2407.03320): CLIP on a global view and tiles, a two-layer projector, InternLM2.

    Attributes:
        vision_config: CLIP's; `image_size` is the side of a tile in pixels.
        text_config: the LLM's.
        image_token_id: stands for one visual token in `input_ids`.
    """

    model_type = "xcomposer2"
    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "vision_config": SubConfigSpec(config_class=CLIPVisionConfig, init_kwargs=CLIP_LARGE_560),
        "text_config": SubConfigSpec(config_class=XComposer2TextConfig),
    }

    vision_config: Any = None
    text_config: Any = None
    image_token_id: int = 92537
    tie_word_embeddings: bool = False

    @property
    def tokens_per_side(self) -> int:
        """Visual tokens along each side of a tile: two by two patches make one."""
        return self.vision_config.image_size // self.vision_config.patch_size // 2
