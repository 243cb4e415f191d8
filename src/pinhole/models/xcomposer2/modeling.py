"""InternLM-XComposer-2.5 (arXiv 2407.03320) in the interface of transformers' LLaVA."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from transformers import Cache, CLIPVisionModel, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.llava.modeling_llava import LlavaCausalLMOutputWithPast, LlavaModelOutputWithPast
from transformers.utils.generic import can_return_tuple

from pinhole.models.xcomposer2.configuration import XComposer2Config
from pinhole.models.xcomposer2.language import XComposer2TextModel
from pinhole.models.xcomposer2.vision import XComposer2MultiModalProjector


class XComposer2PreTrainedModel(PreTrainedModel):
    """What both classes share."""

    config_class = XComposer2Config
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["XComposer2DecoderLayer", "CLIPEncoderLayer"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, XComposer2MultiModalProjector):
            init.zeros_(module.row_end)
            init.zeros_(module.view_end)


class XComposer2Model(XComposer2PreTrainedModel):
    """CLIP, the projector and the LLM, without its head."""

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        self.vision_tower = CLIPVisionModel._from_config(config.vision_config)
        self.multi_modal_projector = XComposer2MultiModalProjector(config)
        self.language_model = XComposer2TextModel._from_config(config.text_config)
        self.post_init()

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.Tensor, tile_grids: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Encode and project images.

        Args:
            pixel_values: (T, 3, side, side) of every image its global view and its tiles in raster order.
            tile_grids: (images, 2) rows and columns of tiles of each image.
            kwargs: passed to CLIP.

        Returns:
            `pooler_output` is a list with (n_i, d) for each image, marks of rows and views included;
            `token_layout` says what each is.

        Raises:
            ValueError: the number of views does not fit the grids.
        """
        grids = [(int(rows), int(columns)) for rows, columns in tile_grids.tolist()]
        views = sum(1 + rows * columns for rows, columns in grids)
        if len(pixel_values) != views:
            raise ValueError(
                f"pixel_values has {len(pixel_values)} views, tile_grids {grids} make {views}: "
                "pass both as the processor gives them"
            )
        outputs = self.vision_tower(pixel_values, return_dict=True, **kwargs)
        features = self.multi_modal_projector(outputs.last_hidden_state[:, 1:], grids)
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=features,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def get_placeholder_mask(self, input_ids: torch.LongTensor | None, inputs_embeds: torch.Tensor) -> torch.Tensor:
        """(B, L) of bool, which tokens of this call are placeholders, by id or else by embedding."""
        token = self.config.image_token_id
        if input_ids is not None:
            return (input_ids == token).to(inputs_embeds.device)
        placeholder = self.get_input_embeddings()(torch.tensor(token, device=inputs_embeds.device))
        return (inputs_embeds == placeholder).all(-1)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        tile_grids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> LlavaModelOutputWithPast:
        """As LLaVA's in transformers; `pixel_values` and `tile_grids` are what `get_image_features` takes.

        Args:
            image_mask: (B, L) of bool, which tokens of this call are an image's, for embeddings that hold an image's
                features already; None means the placeholders.
            mm_encoder_outputs: takes the encoder's place: `{"image": ...}` with a `pooler_output`.
            kwargs: passed to the LLM.

        Raises:
            ValueError: arguments that exclude each other, or placeholders that do not match the features.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if pixel_values is not None and mm_encoder_outputs:
            raise ValueError("give pixel_values or mm_encoder_outputs, not both")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        features = self._features(pixel_values, tile_grids, mm_encoder_outputs)
        placeholders = self.get_placeholder_mask(input_ids, inputs_embeds)
        inputs_embeds, filled = self._fill(inputs_embeds, placeholders, features)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            image_mask=placeholders if image_mask is None else image_mask,
            **kwargs,
        )
        return LlavaModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=filled,
        )

    def _features(
        self,
        pixel_values: torch.Tensor | None,
        tile_grids: torch.Tensor | None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None,
    ) -> list[torch.Tensor]:
        if mm_encoder_outputs and mm_encoder_outputs.get("image") is not None:
            return list(mm_encoder_outputs["image"].pooler_output)
        if pixel_values is None:
            return []
        if tile_grids is None:
            raise ValueError("pixel_values come with tile_grids: pass what the processor returns")
        return list(self.get_image_features(pixel_values, tile_grids, return_dict=True).pooler_output)

    @staticmethod
    def _fill(
        inputs_embeds: torch.Tensor, placeholders: torch.Tensor, features: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The embeddings with the features in the placeholders' stead, and the features as one tensor."""
        wanted, given = int(placeholders.sum()), sum(len(x) for x in features)
        if wanted != given:
            raise ValueError(
                f"{wanted} image placeholders in the prompt for {given} visual tokens of {len(features)} image(s): "
                "give one image for each image mark, and leave truncation off"
            )
        if not features:
            return inputs_embeds, None
        x = torch.cat(features).to(inputs_embeds.device, inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(placeholders[..., None], x), x


class XComposer2ForConditionalGeneration(XComposer2PreTrainedModel, GenerationMixin):
    """InternLM-XComposer-2.5 with its language head. Placeholders are never generated."""

    _keys_to_ignore_on_load_missing: ClassVar[list[str]] = [r"vision_tower\.post_layernorm\."]
    """The norm of CLIP's pooled class token, which is not read and which checkpoints may leave out."""

    def __init__(self, config: XComposer2Config) -> None:
        super().__init__(config)
        self.model = XComposer2Model(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()
        self.generation_config.suppress_tokens = [config.image_token_id]

    def get_output_embeddings(self) -> nn.Module:
        """The language head."""
        return self.lm_head

    def get_image_features(
        self, pixel_values: torch.Tensor, tile_grids: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """As `XComposer2Model.get_image_features`."""
        return self.model.get_image_features(pixel_values, tile_grids, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values: torch.Tensor | None = None,
        tile_grids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        image_mask: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> LlavaCausalLMOutputWithPast:
        """As `XComposer2Model.forward`, then logits and, with `labels` (B, L), the mean loss over those not -100."""
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            tile_grids=tile_grids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            image_mask=image_mask,
            mm_encoder_outputs=mm_encoder_outputs,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        return LlavaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool | None = False,
        image_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As usual; an `image_mask` belongs to the prompt, so that only the first pass reads it."""
        inputs = super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        return {**inputs, "image_mask": image_mask} if is_first_iteration and image_mask is not None else inputs
