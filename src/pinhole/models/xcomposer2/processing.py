"""Text and images to the model's inputs, and the conversation format."""

from __future__ import annotations

from typing import Any

from transformers import BatchFeature, PreTrainedTokenizerFast, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images

from pinhole.models.xcomposer2.image_processing import XComposer2ImageProcessor
from pinhole.models.xcomposer2.vision import count_tokens

IMAGE_TOKEN = "<ImageHere>"
HD_NUM_OF_SEVERAL = 6
"""The most tiles of each image where a prompt has several."""

META_INSTRUCTION = """\
You are an AI assistant whose name is InternLM-XComposer (浦语·灵笔).
- InternLM-XComposer (浦语·灵笔) is a multi-modality conversational language model that is developed by Shanghai AI \
Laboratory (上海人工智能实验室). It is designed to be helpful, honest, and harmless.
- InternLM-XComposer (浦语·灵笔) can understand and communicate fluently in the language chosen by the user such as \
English and 中文.
- InternLM-XComposer (浦语·灵笔) is capable of comprehending and articulating responses effectively based on the \
provided image."""

CHAT_TEMPLATE = """\
{%- set asked = messages | selectattr('role', 'equalto', 'user') | list -%}
{%- set first = asked[0].content if asked and asked[0].content is not string else [] -%}
{%- set lead = first | selectattr('type', 'equalto', 'image') | list | length == 1 and first[0].type == 'image' -%}
{%- if lead -%}{{ '<ImageHere>' }}{%- endif -%}
{%- if messages[0].role != 'system' and use_meta is defined and use_meta -%}
{{ '[UNUSED_TOKEN_146]system\\n' + META + '[UNUSED_TOKEN_145]\\n' }}
{%- endif -%}
{%- set seen = namespace(lead=lead) -%}
{%- for message in messages -%}
{{ '[UNUSED_TOKEN_146]' + message.role + '\\n' }}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'text' -%}{{ part.text }}
{%- elif part.type == 'image' and seen.lead -%}{%- set seen.lead = false -%}
{%- elif part.type == 'image' -%}{{ '<ImageHere>' }}
{%- else -%}{{ raise_exception('a message has text and images, not ' + part.type) }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '[UNUSED_TOKEN_145]\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '[UNUSED_TOKEN_146]assistant\\n' }}{%- endif -%}
""".replace("META", repr(META_INSTRUCTION))
"""As the original's `chat()`: a first question with one image, in front, has it before everything; all other images
stay where they are. `use_meta=True` puts the default meta instruction where there is no system message."""


class XComposer2Processor(ProcessorMixin):
    """Image processor and tokenizer. An image mark in the text becomes as many placeholders as the image has tokens."""

    def __init__(
        self,
        image_processor: XComposer2ImageProcessor,
        tokenizer: PreTrainedTokenizerFast,
        chat_template: str = CHAT_TEMPLATE,
    ) -> None:
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Model inputs of a batch of prompts, as transformers' LlavaProcessor makes them.

        Args:
            images: in the order of their marks, over all prompts.
            text: a prompt or a list of prompts, each image marked by `<ImageHere>`.
            kwargs: for the tokenizer and the image processor. `hd_num`, the most tiles of an image, is 24 where a
                prompt has one image and 6 where it has several.

        Raises:
            ValueError: another number of images than of marks.
        """
        if images is not None and text is not None and "hd_num" not in {**kwargs, **kwargs.get("images_kwargs", {})}:
            kwargs["hd_num"] = self._most_tiles([text] if isinstance(text, str) else text)
        return super().__call__(images=images, text=text, **kwargs)

    def validate_inputs(self, images: Any = None, text: Any = None, **kwargs: Any) -> None:
        """Refuse another number of images than of marks."""
        if text is not None:
            marks = sum(prompt.count(self.image_token) for prompt in text)
            given = 0 if images is None else len(make_flat_list_of_images(images))
            if marks != given:
                raise ValueError(
                    f"{given} image(s) for {marks} mark(s) {self.image_token} in the prompts: "
                    "give one image for each mark"
                )
        super().validate_inputs(images=images, text=text, **kwargs)

    def _most_tiles(self, prompts: list[str]) -> list[int]:
        """The most tiles of each image."""
        counts = [prompt.count(self.image_token) for prompt in prompts]
        single = self.image_processor.hd_num
        return [HD_NUM_OF_SEVERAL if count > 1 else single for count in counts for _ in range(count)]

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """The placeholders of one image."""
        rows, columns = (int(n) for n in image_inputs["tile_grids"][image_idx])
        return self.image_token * count_tokens(rows, columns, self.image_processor.tokens_per_side)

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str, processor_dict: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """The two parts by their own classes, so that nothing has to be registered."""
        kwargs.pop("subfolder", None)
        return [
            XComposer2ImageProcessor.from_dict((processor_dict or {}).get("image_processor", {})),
            PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, **kwargs),
        ]
