"""VILA-1.5 in today's transformers style: SigLIP, a projector that merges 2x2 patches, and a Llama."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import Cache, GenerationMixin, LlamaModel, PreTrainedModel, SiglipVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaCausalLMOutputWithPast, LlavaModelOutputWithPast
from transformers.utils.generic import can_return_tuple

from pinhole.models.vila.configuration import VilaConfig


class VilaMultiModalProjector(nn.Module):
    """Linear layers with GELU between them; "mlp_downsample" merges and normalizes 2x2 patches before."""

    def __init__(self, config: VilaConfig) -> None:
        super().__init__()
        width, out = config.vision_config.hidden_size, config.text_config.hidden_size
        self.norm: nn.LayerNorm | None = None
        depth = 1 if config.projector_type == "linear" else 2
        if config.projector_type == "mlp_downsample":
            width *= 4
            self.norm = nn.LayerNorm(width)
        elif config.projector_type != "linear":
            depth = int(config.projector_type.removeprefix("mlp").removesuffix("x_gelu"))
        self.layers = nn.ModuleList(nn.Linear(out if i else width, out) for i in range(depth))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(images, patches, vision width) to (images, visual tokens, LLM width)."""
        x = patches if self.norm is None else self.norm(_merge_2x2(patches))
        for i, layer in enumerate(self.layers):
            x = layer(nn.functional.gelu(x) if i else x)
        return x


def _merge_2x2(patches: torch.Tensor) -> torch.Tensor:
    """(n, side * side, c) in raster order to (n, ceil(side / 2)**2, 4 c), **column by column**, as VILA reads them.

    An odd side gets a row and a column of zeros. The channels of a merged token are those of its upper left, upper
    right, lower left and lower right patch.
    """
    n, count, c = patches.shape
    side = int(count**0.5)
    grid = patches.view(n, side, side, c)
    grid = nn.functional.pad(grid, (0, 0, 0, side % 2, 0, side % 2))
    half = grid.shape[1] // 2
    return grid.view(n, half, 2, half, 2, c).permute(0, 3, 1, 2, 4, 5).reshape(n, half * half, 4 * c)


class VilaPreTrainedModel(PreTrainedModel):
    """What both VILA classes share."""

    config: VilaConfig
    config_class = VilaConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar = ["LlamaDecoderLayer", "SiglipEncoderLayer"]
    _skip_keys_device_placement: ClassVar = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class VilaModel(VilaPreTrainedModel):
    """The vision tower, the projector and the language model without its head."""

    def __init__(self, config: VilaConfig) -> None:
        super().__init__(config)
        self.vision_tower = SiglipVisionModel._from_config(config.vision_config)
        self.multi_modal_projector = VilaMultiModalProjector(config)
        self.language_model = LlamaModel._from_config(config.text_config)
        self.post_init()

    @can_return_tuple
    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Encode images.

        Args:
            pixel_values: (images, 3, side, side).
            **kwargs: for the vision tower.

        Returns:
            the vision tower's output, with `pooler_output` a list of one (visual tokens, LLM width) tensor per image.
            Under "mlp_downsample" the tokens run down the columns of the image, leftmost column first.
        """
        kwargs["output_hidden_states"] = True
        outputs = self.vision_tower(pixel_values, return_dict=True, **kwargs)
        patches = outputs.hidden_states[self.config.vision_feature_layer]
        outputs.pooler_output = list(self.multi_modal_projector(patches))
        return outputs

    def _placeholders(self, input_ids: torch.Tensor | None, embeddings: torch.Tensor) -> torch.Tensor:
        """(B, L, 1) True where a visual token goes; embeddings are compared where there are no ids."""
        image = torch.tensor(self.config.image_token_id, device=embeddings.device)
        if input_ids is None:
            return (embeddings == self.get_input_embeddings()(image)).all(-1, keepdim=True)
        return (input_ids == image)[..., None].to(embeddings.device)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> LlavaModelOutputWithPast:
        """Hidden states of the prompt, with the features of its images at their placeholders.

        Args:
            input_ids: (B, L) token ids; or `inputs_embeds` (B, L, width).
            pixel_values: (images, 3, side, side), in the order of their placeholders.
            attention_mask: (B, L) 1 where there is a token.
            position_ids: (B, L) for the rotary embedding.
            past_key_values: what earlier calls left.
            inputs_embeds: (B, L, width) in place of `input_ids`.
            mm_encoder_outputs: {"image": features}, in place of `pixel_values`.
            **kwargs: for the language model.

        Raises:
            ValueError: not exactly one of ids and embeddings, or both of pixels and features, or another number of
                features than of placeholders.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if pixel_values is not None and mm_encoder_outputs is not None:
            raise ValueError("give pixel_values or mm_encoder_outputs, not both")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        images = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            images = self.get_image_features(pixel_values, return_dict=True)
        features = None
        if images is not None:
            features = torch.cat(list(images.pooler_output)).to(inputs_embeds.device, inputs_embeds.dtype)
            places = self._placeholders(input_ids, inputs_embeds)
            if places.sum() != len(features):
                raise ValueError(
                    f"{len(features)} image features for {int(places.sum())} placeholders in the prompt: "
                    "give one image for each image mark, and leave truncation off"
                )
            inputs_embeds = inputs_embeds.masked_scatter(places, features)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return LlavaModelOutputWithPast(**outputs, image_hidden_states=features)


class VilaForConditionalGeneration(VilaPreTrainedModel, GenerationMixin):
    """VILA-1.5 with its language modelling head. The image token is never generated."""

    _tied_weights_keys: ClassVar = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan: ClassVar = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: VilaConfig) -> None:
        super().__init__(config)
        self.model = VilaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.generation_config.suppress_tokens = [config.image_token_id]
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The language modelling head."""
        return self.lm_head

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `VilaModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> LlavaCausalLMOutputWithPast:
        """Logits over the vocabulary, and the loss where there are labels.

        Args: as `VilaModel.forward`, and
            labels: (B, L) ids to predict, -100 where none is; shifted here.
            logits_to_keep: 0 for all positions, n for the last n, or the positions.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return LlavaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )
