"""Images and words for VILA-1.5: the preprocessing and the conversation formats of its public code."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

import numpy as np
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_utils import ImageInput, make_flat_list_of_images
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.processing_utils import ImagesKwargs

_CONTENT = (
    "{%- macro text(content) -%}{%- if content is string -%}{{- content -}}{%- else -%}{%- for part in content -%}"
    "{%- if part['type'] == 'image' -%}{{- '<image>\\n' -}}{%- elif part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- endif -%}{%- endfor -%}{%- endif -%}{%- endmacro -%}"
    "{%- set system = namespace(said='SYSTEM') -%}{%- for message in messages if message['role'] == 'system' -%}"
    "{%- set system.said = text(message['content']) -%}{%- endfor -%}"
)
_VICUNA = _CONTENT.replace(
    "SYSTEM",
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user\\'s questions.",
) + (
    "{{- system.said + ' ' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{- 'USER: ' + text(message['content']) + ' ' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- 'ASSISTANT: ' + text(message['content']) + '</s>' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}"
)
_LLAMA_3 = _CONTENT.replace(
    "SYSTEM",
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language.",
) + (
    "{%- macro header(role) -%}{{- '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' -}}{%- endmacro -%}"
    "{{- '<|begin_of_text|>' + header('system') + system.said + '<|eot_id|>' -}}"
    "{%- for message in messages if message['role'] != 'system' -%}"
    "{{- header(message['role']) + text(message['content']) -}}"
    "{{- '<|end_of_text|>' if loop.last and not add_generation_prompt else '<|eot_id|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- header('assistant') -}}{%- endif -%}"
)
_LLAMA_3_FIRST = (
    _LLAMA_3.replace("header(message['role'])", "header('user' if message['role'] == 'user' else 'system')")
    .replace("header('assistant')", "header('system')")
    .replace("<|eot_id|>", "<|end_of_text|>")
)

CHAT_TEMPLATES = {"vicuna_v1": _VICUNA, "llama_3": _LLAMA_3, "llama_3_first": _LLAMA_3_FIRST}
"""Chat templates by their name in the public code's conversation.py.

"vicuna_v1" is for the 3B and 13B models. "llama_3" is for Llama-3-VILA1.5-8B as published since September 2024 (its
"Fix" release), "llama_3_first" for the weights of May 2024, whose code called the assistant "system" and ended every
message with <|end_of_text|>. An image part prints "<image>" and a line break, where it stands.
"""


class VilaImagesKwargs(ImagesKwargs, total=False):  # type: ignore[call-arg]
    """Settings of `VilaImageProcessor`: those of SigLIP's, and what becomes of an image that is not square."""

    image_aspect_ratio: Literal["resize", "pad"]


class VilaImageProcessor(SiglipImageProcessorPil):
    """SigLIP's preprocessing of one square picture per image.

    `image_aspect_ratio` "resize" stretches an image to the square, "pad" first centres it on a square of the mean
    colour.
    """

    valid_kwargs = VilaImagesKwargs
    size = {"height": 384, "width": 384}  # noqa: RUF012 - the base class copies it
    image_aspect_ratio = "resize"

    def _preprocess(
        self, images: list[np.ndarray], image_aspect_ratio: str, image_mean: tuple[float, ...], **kwargs: Any
    ) -> BatchFeature:
        if image_aspect_ratio == "pad":
            images = [_on_square(image, image_mean) for image in images]
        return super()._preprocess(images, image_mean=image_mean, **kwargs)


def _on_square(image: np.ndarray, mean: tuple[float, ...]) -> np.ndarray:
    """(3, h, w) bytes to (3, s, s), s the longer side, the image in the middle of the mean colour (0 to 1)."""
    _, height, width = image.shape
    side = max(height, width)
    colour = np.array([int(channel * 255) for channel in mean], image.dtype)
    square = np.broadcast_to(colour[:, None, None], (3, side, side)).copy()
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


class VilaProcessor(ProcessorMixin):
    """Turns conversations and images into VILA's inputs: each image mark becomes `image_seq_length` placeholders.

    Like the public code it tokenizes the words between images on their own: where a tokenizer starts every text with a
    space, as Llama 2's does, the words after an image start with one.

    Args:
        image_processor: a `VilaImageProcessor`.
        tokenizer: the LLM's, which has `image_token` as a token.
        chat_template: one of `CHAT_TEMPLATES`.
        image_token: the mark of an image in the text, and of a visual token in the ids.
        image_seq_length: visual tokens of one image.
    """

    def __init__(
        self,
        image_processor: VilaImageProcessor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        image_seq_length: int = 196,
    ) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)
        self.image_token = image_token
        self.image_token_id = self.tokenizer.convert_tokens_to_ids(image_token)
        self.image_seq_length = image_seq_length
        start, after_image = (
            self.tokenizer.encode(text, add_special_tokens=False) for text in ("a", image_token + "a")
        )
        self._word_start = "" if after_image[1:] == start else " "

    def validate_inputs(self, images: ImageInput | None = None, text: list[str] | None = None, **kwargs: Any) -> None:
        """Raise a ValueError unless there is one image for each mark in the texts."""
        if text is not None:
            marks = sum(row.count(self.image_token) for row in text)
            given = 0 if images is None else len(make_flat_list_of_images(images))
            if marks != given:
                raise ValueError(f"{given} image(s) for {marks} {self.image_token!r} in the text: give one for each")
        super().validate_inputs(images=images, text=text, **kwargs)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The placeholders of one image."""
        return self.image_token * self.image_seq_length

    def get_text_with_replacements(self, text: list[str], *args: Any, **kwargs: Any) -> tuple[list[str], list]:
        """Replace image marks by placeholders, and start the words after them as a text starts."""
        if self._word_start:
            mark = re.escape(self.image_token)
            after = re.compile(f"({mark})(?!{mark})(?=.)", re.DOTALL)
            text = [after.sub(rf"\1{self._word_start}", row) for row in text]
        return super().get_text_with_replacements(text, *args, **kwargs)

    def __call__(
        self, images: ImageInput | None = None, text: str | list[str] | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Token ids, attention mask and pixel values.

        Args:
            images: in the order of their marks, over all texts.
            text: one text or a list, with an `image_token` for each image.
            **kwargs: for the tokenizer and the image processor, such as `padding`, `padding_side`,
                `add_special_tokens` and `return_tensors`.

        Raises:
            ValueError: not one image for each mark, or placeholders lost to truncation.
        """
        return super().__call__(images=images, text=text, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, **kwargs: Any) -> Self:
        """Load what `save_pretrained` wrote. No class has to be registered with transformers for it."""
        image_processor = VilaImageProcessor.from_pretrained(pretrained_model_name_or_path, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **kwargs)
        settings, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        return cls.from_args_and_dict([image_processor, tokenizer], settings)
