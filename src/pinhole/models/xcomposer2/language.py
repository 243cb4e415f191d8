"""InternLM2 with partial LoRA: a Llama with fused query, key and value, and linear layers that treat images apart."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import Cache, DynamicCache, LlamaPreTrainedModel
from transformers.activations import ACT2FN
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
    eager_attention_forward,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from pinhole.models.xcomposer2.configuration import XComposer2TextConfig


class PartialLoRALinear(nn.Module):
    """A linear layer with a low-rank addition that acts on image tokens only."""

    def __init__(self, in_features: int, out_features: int, config: XComposer2TextConfig, bias: bool = False) -> None:
        super().__init__()
        self.base = nn.Linear(in_features, out_features, bias=bias)
        self.lora_a = nn.Linear(in_features, config.plora_rank, bias=False)
        self.lora_b = nn.Linear(config.plora_rank, out_features, bias=False)
        self.scaling = config.plora_alpha / config.plora_rank

    def forward(self, x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        """(B, L, in) to (B, L, out); `places` are the image tokens' indices into the B * L tokens, None for none."""
        y = self.base(x)
        if places is None:
            return y
        addition = self.lora_b(self.lora_a(x.flatten(0, 1)[places])) * self.scaling
        return y.flatten(0, 1).index_add(0, places, addition.to(y.dtype)).view_as(y)


class XComposer2Attention(nn.Module):
    """Grouped-query attention. The fused projection holds, for each KV head, its queries, its key and its value."""

    def __init__(self, config: XComposer2TextConfig, layer_idx: int) -> None:
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        fused = (config.num_attention_heads + 2 * config.num_key_value_heads) * self.head_dim
        self.qkv_proj = PartialLoRALinear(config.hidden_size, fused, config, config.attention_bias)
        self.o_proj = PartialLoRALinear(config.hidden_size, config.hidden_size, config, config.attention_bias)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        image_places: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, L, d) to (B, L, d) and the attention weights, where the implementation gives them."""
        shape = hidden_states.shape[:-1]
        fused = self.qkv_proj(hidden_states, image_places)
        fused = fused.view(*shape, -1, self.num_key_value_groups + 2, self.head_dim)
        query = fused[..., :-2, :].reshape(*shape, -1, self.head_dim).transpose(1, 2)
        key, value = fused[..., -2, :].transpose(1, 2), fused[..., -1, :].transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.attention_dropout if self.training else 0.0
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return self.o_proj(output.reshape(*shape, -1).contiguous(), image_places), weights


class XComposer2MLP(nn.Module):
    """Llama's gated MLP of partial LoRA layers."""

    def __init__(self, config: XComposer2TextConfig) -> None:
        super().__init__()
        self.gate_proj = PartialLoRALinear(config.hidden_size, config.intermediate_size, config)
        self.up_proj = PartialLoRALinear(config.hidden_size, config.intermediate_size, config)
        self.down_proj = PartialLoRALinear(config.intermediate_size, config.hidden_size, config)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
        """(B, L, d) to (B, L, d)."""
        return self.down_proj(self.act_fn(self.gate_proj(x, places)) * self.up_proj(x, places), places)


class XComposer2DecoderLayer(GradientCheckpointingLayer):
    """Attention and MLP, each on its input's norm and added to it."""

    def __init__(self, config: XComposer2TextConfig, layer_idx: int) -> None:
        super().__init__()
        self.self_attn = XComposer2Attention(config, layer_idx)
        self.mlp = XComposer2MLP(config)
        self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self, hidden_states: torch.Tensor, image_places: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """(B, L, d) to (B, L, d); `kwargs` are the attention's."""
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), image_places=image_places, **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states), image_places)


class XComposer2TextModel(LlamaPreTrainedModel):
    """The LLM without its head."""

    config_class = XComposer2TextConfig
    _no_split_modules: ClassVar[list[str]] = ["XComposer2DecoderLayer"]
    _can_compile_fullgraph = False
    _can_record_outputs: ClassVar[dict[str, type]] = {
        "hidden_states": XComposer2DecoderLayer,
        "attentions": XComposer2Attention,
    }

    def __init__(self, config: XComposer2TextConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([XComposer2DecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        image_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """As `LlamaModel.forward`.

        Args:
            input_ids: (B, L), or `inputs_embeds`.
            attention_mask: (B, cached + L).
            position_ids: (B, L).
            past_key_values: the cache.
            inputs_embeds: (B, L, d), or `input_ids`.
            use_cache: whether to make a cache where none is given.
            image_mask: (B, L) of bool, which tokens of this call are an image's; None for none.
            kwargs: passed to the attention.

        Raises:
            ValueError: both or neither of `input_ids` and `inputs_embeds`, or an `image_mask` of another shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if image_mask is not None and image_mask.shape != inputs_embeds.shape[:2]:
            given, wanted = tuple(image_mask.shape), tuple(inputs_embeds.shape[:2])
            raise ValueError(f"image_mask is {given} for tokens of {wanted}: it covers the tokens of this call")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = (torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device) + seen)[None]
        causal_mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(hidden_states, position_ids=position_ids)
        image_places = _places(image_mask)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                image_places=image_places,
                attention_mask=causal_mask,
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)


def _places(image_mask: torch.Tensor | None) -> torch.Tensor | None:
    """Indices of the image tokens among all tokens of the batch, None where there are none."""
    if image_mask is None:
        return None
    places = image_mask.flatten().nonzero().squeeze(1)
    return places if len(places) else None
