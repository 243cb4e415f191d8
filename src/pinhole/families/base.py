"""What Pinhole must know about a Hugging Face model type, with the answers of LLaVA-like models as defaults."""

from __future__ import annotations

import inspect
from collections.abc import Set
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.budget import LLMShape
from pinhole.families.cues import Encoder, recorded
from pinhole.families.first_layer import DEEPER, PROMPT_CUES, of_prompt, with_prompt_cues
from pinhole.families.parts import Decided, Features, Visual, squares
from pinhole.layout import Layout
from pinhole.reduction import Reduction
from pinhole.scope import Positions
from pinhole.visual import VisualTokens


class Family:
    """A loaded model, seen the way Pinhole needs it. Nothing here changes the model.

    Class attributes:
        positions: position ids of the visual tokens that remain, unless the user says otherwise (see `Scope`).
        pixel_inputs: for each modality the name of the input that holds its pixels.
        stacked: modalities whose features `forward` wants as one tensor (1, sum n_i, d) instead of a list.
        token_inputs: inputs of shape (B, L), beside ids, mask, positions and labels, that shrink with the prompt.
        spent_inputs: inputs that have no meaning once the prompt is shrunk.
    """

    positions: ClassVar[Positions] = "compact"
    pixel_inputs: ClassVar[dict[str, str]] = {"image": "pixel_values"}
    stacked: ClassVar[frozenset[str]] = frozenset()
    token_inputs: ClassVar[tuple[str, ...]] = ()
    spent_inputs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model reads beside text: "image", "video" or both."""
        return tuple(self.pixel_inputs)

    @property
    def provides(self) -> frozenset[str]:
        """The cues beside X that a method may ask for (see `cues` and `first_layer`)."""
        encoder = self.encoder({})
        deeper = {f"{DEEPER}{layer}" for layer in range(1, len(self.language_model.layers))}
        return PROMPT_CUES | deeper | (encoder.cues if encoder else frozenset())

    @property
    def language_model(self) -> PreTrainedModel:
        """The LLM, whose decoder layers are its `layers`."""
        return self.model.base_model.language_model

    def encoder(self, inputs: dict[str, Any]) -> Encoder | None:
        """Where the encoder's attention is; None where its cues are not known.

        Args:
            inputs: the model's, which may choose another layer than the configuration; may be empty.
        """
        return None

    def per_token(self, modality: str, inputs: dict[str, Any], patches: torch.Tensor) -> torch.Tensor:
        """Values of patches as values of visual tokens, (sum n_i, c): the way the features go, 0 for newlines.

        Args:
            modality: of the patches.
            inputs: as `encode` got them.
            patches: (N, c), in the order in which the encoder attends to them.
        """
        return patches

    def token_id(self, modality: str) -> int:
        """The id of the token that stands for one visual token in the prompt."""
        return getattr(self.model.config, f"{modality}_token_id")

    @property
    def width(self) -> int:
        """Width of the LLM, which is the width of X."""
        return self.model.config.get_text_config(decoder=True).hidden_size

    @property
    def shape(self) -> LLMShape:
        """The LLM's sizes, for `budget`."""
        text = self.model.config.get_text_config(decoder=True)
        return LLMShape(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            heads=text.num_attention_heads,
            kv_heads=text.num_key_value_heads,
            head_width=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            mlp_width=text.intermediate_size,
            vocabulary=text.vocab_size,
            bytes_per_value=self.model.dtype.itemsize,
        )

    def rotary(self, hidden: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The LLM's rotary embeddings at position ids (B, q), the same on every axis of M-RoPE."""
        is_1d = self.positions == "compact"
        return self.language_model.rotary_emb(hidden, numbers if is_1d else numbers.expand(3, *numbers.shape))

    @property
    def first_cut(self) -> int:
        """The first decoder layer in front of which visual tokens may leave."""
        return 1

    @property
    def uncut(self) -> str | None:
        """Why no tokens can leave between this model's layers; None where they can."""
        kinds = set(getattr(self.model.config.get_text_config(decoder=True), "layer_types", None) or ())
        if kinds - {"full_attention"}:
            return f"its layers read their context in other ways too ({', '.join(sorted(kinds - {'full_attention'}))})"
        if self.token_inputs:
            return "the visual tokens of an image see each other in both directions"
        return None

    def cut_inputs(self, arguments: dict[str, Any], alive: torch.Tensor, total: int) -> dict[str, Any]:
        """What a decoder layer is given for every token beside hidden states, mask and positions, once tokens left.

        Args:
            arguments: of the layer, for all tokens of the pass.
            alive: (b, q) the tokens that are left in some rows, counted through the whole batch; -1 for none.
            total: tokens in the whole batch.
        """
        return {}

    def has_pixels(self, inputs: dict[str, Any]) -> bool:
        """Whether these model inputs bring images or videos that are still to be encoded."""
        return any(inputs.get(name) is not None for name in self.pixel_inputs.values())

    def encode(self, inputs: dict[str, Any], needs: Set[str] = frozenset()) -> tuple[list[Visual], set[str]]:
        """Run encoder and projector once on the images and videos in `inputs`.

        Args:
            inputs: the model's.
            needs: the cues that the visual tokens shall bring.

        Returns:
            them in the order of their placeholders, row by row, and the names of the inputs that were used up.

        Raises:
            ValueError: the prompt's placeholders do not match the features, or there is no such cue.
        """
        visuals: list[Visual] = []
        used: set[str] = set()
        for modality, pixels in self.pixel_inputs.items():
            if inputs.get(pixels) is not None:
                encoder = getattr(self.model.base_model, f"get_{modality}_features")
                names = inspect.signature(encoder).parameters.keys() - {"kwargs"}
                arguments = {name: inputs[name] for name in names if inputs.get(name) is not None}
                with recorded(self.encoder(inputs), needs - of_prompt(needs)) as calls:
                    features = self.features(modality, encoder(**arguments, return_dict=True))
                visuals += self._place(modality, features, calls, inputs)
                used |= arguments.keys()
        visuals.sort(key=lambda visual: (visual.row, int(visual.columns[0])))
        return with_prompt_cues(self, inputs, visuals, needs), used

    def _place(
        self, modality: str, features: Features, calls: dict[str, list[torch.Tensor]], inputs: dict[str, Any]
    ) -> list[Visual]:
        """Cut features and cues into images or videos and find the placeholders of each."""
        where = (inputs["input_ids"] == self.token_id(modality)).nonzero()
        entries = [len(x) for x in features.entries]
        if sum(entries) != len(where):
            raise ValueError(
                f"{sum(entries)} visual tokens of {len(entries)} {modality}(s) for {len(where)} placeholders in the "
                f"prompt: give one {modality} for each {modality} mark, and leave truncation off"
            )
        lengths = self.lengths(modality, inputs, entries)
        layouts, pixels = self.layouts(modality, inputs, lengths), self.pixels(modality, inputs, lengths)
        device = inputs["input_ids"].device  # parts of a model may lie on devices of their own
        deeper = [torch.cat(layer).to(device).split(lengths) for layer in features.deeper]
        cues = {}
        for name, parts in calls.items():
            patches = torch.cat(parts)
            values = self.per_token(modality, inputs, patches.reshape(len(patches), -1))
            cues[name] = values.reshape(-1, *patches.shape[1:]).to(device).split(lengths)
        visuals, flat = [], torch.cat(features.entries).to(device)
        for i, (x, places) in enumerate(zip(flat.split(lengths), where.split(lengths), strict=True)):
            if not bool((places[:, 0] == places[0, 0]).all()):
                raise ValueError(f"the placeholders of one {modality} lie in two rows of the batch")
            tokens = VisualTokens(x, layouts[i], pixels[i], {name: cue[i] for name, cue in cues.items()})
            visuals.append(
                Visual(tokens, modality, int(places[0, 0]), places[:, 1], tuple(layer[i] for layer in deeper))
            )
        return visuals

    def features(self, modality: str, output: BaseModelOutputWithPooling) -> Features:
        """The encoder's output as one entry (n_i, d) for each of its images or videos."""
        return Features(list(output.pooler_output), [])

    def lengths(self, modality: str, inputs: dict[str, Any], entries: list[int]) -> list[int]:
        """Visual tokens of each image or video: what is reduced as one unit.

        Args:
            modality: "image" or "video".
            inputs: as `encode` got them.
            entries: lengths of the encoder's entries.
        """
        return entries

    def layouts(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[Layout]:
        """Where the tokens of each image or video come from: here, square grids, one for each frame."""
        if modality == "image":
            return [squares(length) for length in lengths]
        frames = [len(video) for video in inputs[self.pixel_inputs["video"]]]
        return [squares(length, count) for length, count in zip(lengths, frames, strict=True)]

    def pixels(self, modality: str, inputs: dict[str, Any], lengths: list[int]) -> list[torch.Tensor]:
        """The pixel values of each image or video, without padding that depends on the rest of the batch."""
        return list(inputs[self.pixel_inputs[modality]])

    def full_positions(self, inputs: dict[str, Any], mask: torch.Tensor) -> torch.Tensor:
        """Position ids of the whole prompt before anything is left out: (B, L), or (3, B, L) for M-RoPE."""
        given = inputs.get("position_ids")
        if given is not None:
            return given.expand(*given.shape[:-2], *mask.shape)
        return (mask.long().cumsum(-1) - 1).clamp_min(0)

    def decided(self, visuals: list[Visual], reductions: list[Reduction]) -> dict[str, BaseModelOutputWithPooling]:
        """Features that take the encoder's place, in the form that `generate` of transformers expands and cuts."""
        outputs = {}
        for modality in dict.fromkeys(visual.modality for visual in visuals):
            pairs = [(v, r) for v, r in zip(visuals, reductions, strict=True) if v.modality == modality]
            output = Decided(pooler_output=[r.apply(v.tokens.x) for v, r in pairs])
            if layers := len(pairs[0][0].deeper):
                output.deepstack_features = [[r.weigh(v.deeper[i]) for v, r in pairs] for i in range(layers)]
            outputs[modality] = output
        return outputs

    def ready(self, outputs: dict[str, BaseModelOutputWithPooling]) -> dict[str, BaseModelOutputWithPooling]:
        """`decided`'s features in the form that `forward` takes."""
        return {
            modality: BaseModelOutputWithPooling(pooler_output=torch.cat(list(output.pooler_output))[None])
            if modality in self.stacked and isinstance(output.pooler_output, list | tuple)
            else output
            for modality, output in outputs.items()
        }

    def describe(self, images: list[Image.Image], videos: int) -> dict[str, torch.Tensor]:
        """What the processor's output leaves out about the pictures, as inputs by name; `encode_turn` adds it.

        Args:
            images: of the prompt, or of all prompts of a batch.
            videos: how many there are beside them.
        """
        return {}

    def remember(self, positions: torch.Tensor | None, mask: torch.Tensor) -> None:
        """Leave in the model what its own `forward` would have, for decode loops that give no position ids."""
