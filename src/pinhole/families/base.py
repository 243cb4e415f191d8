"""What Pinhole must know about a Hugging Face model type, with the answers of LLaVA-like models as defaults."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from pinhole.budget import LLMShape
from pinhole.visual import VisualTokens

Positions = Literal["compact", "original"]


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """One image of a batch: its visual tokens and where the LLM reads them.

    Attributes:
        tokens: the visual tokens.
        row: the batch row.
        columns: (n,) the columns of its placeholders in that row of the input ids.
    """

    tokens: VisualTokens
    row: int
    columns: torch.Tensor


class Family:
    """A loaded model, seen the way Pinhole needs it. Nothing here changes the model.

    Class attributes:
        provides: the cues beside X that a method may ask for.
        positions: position ids of the visual tokens that remain: "compact" numbers them anew, "original" gives each
            the id of its anchor.
    """

    provides: ClassVar[frozenset[str]] = frozenset()
    positions: ClassVar[Positions] = "compact"
    pixel_keys: ClassVar[tuple[str, ...]] = ("pixel_values",)

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @property
    def image_token_id(self) -> int:
        """The id of the token that stands for one visual token in the prompt."""
        return self.model.config.image_token_id

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

    def has_pixels(self, inputs: dict[str, Any]) -> bool:
        """Whether these model inputs bring images that are still to be encoded."""
        return any(inputs.get(key) is not None for key in self.pixel_keys)

    def encode(self, inputs: dict[str, Any]) -> tuple[list[EncodedImage], set[str]]:
        """Run encoder and projector once on the images in `inputs`.

        Returns:
            the images in the order of their placeholders, and the names of the inputs that were used up.

        Raises:
            ValueError: the prompt's placeholders do not match the features.
        """
        encoder = self.model.base_model.get_image_features
        names = inspect.signature(encoder).parameters.keys() - {"kwargs"}
        arguments = {name: inputs[name] for name in names if inputs.get(name) is not None}
        features = list(encoder(**arguments, return_dict=True).pooler_output)
        where = (inputs["input_ids"] == self.image_token_id).nonzero()
        lengths = [len(x) for x in features]
        if sum(lengths) != len(where):
            raise ValueError(
                f"{sum(lengths)} visual tokens of {len(lengths)} image(s) for {len(where)} placeholders in the prompt: "
                "give one image for each image mark, and leave truncation off"
            )
        images = []
        for i, (x, places) in enumerate(zip(features, where.split(lengths), strict=True)):
            tokens = VisualTokens(x, self.grid(i, inputs), self.pixels(i, inputs), {})
            images.append(EncodedImage(tokens, int(places[0, 0]), places[:, 1]))
        return images, set(arguments)

    def grid(self, i: int, inputs: dict[str, Any]) -> tuple[int, int] | None:
        """(rows, columns) of image `i`'s visual tokens where they fill a grid row by row, else None."""
        return None

    def pixels(self, i: int, inputs: dict[str, Any]) -> torch.Tensor:
        """The pixel values of image `i`."""
        return inputs["pixel_values"][i]

    def decided(self, features: list[torch.Tensor]) -> dict[str, BaseModelOutputWithPooling]:
        """Features that take the encoder's place, in the form that `forward` and `generate` of transformers accept."""
        return {"image": BaseModelOutputWithPooling(pooler_output=features)}
