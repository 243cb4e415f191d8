"""Builds the embedded LVLM's parts from nothing: vocabulary, processor with chat template, and an untrained model."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from pinhole.scenes.signs.world import WORDS as SIGN_WORDS
from pinhole.scenes.world import COLORS, SHAPES, SIDE

PATCH = 12
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:")
WORDS = [
    "?",
    ",",
    "what",
    "which",
    "where",
    "how",
    "many",
    "is",
    "are",
    "there",
    "a",
    "an",
    "the",
    "object",
    "objects",
    "on",
    "of",
    "or",
    "color",
    "shape",
    "digit",
    "place",
    "yes",
    "no",
    "none",
    "left",
    "right",
    "top",
    "bottom",
    "list",
    "crosses",
]
VOCABULARY = (
    *SPECIAL,
    *WORDS,
    *COLORS,
    *SHAPES,
    *(shape + "s" for shape in SHAPES if shape != "cross"),
    *"0123456789",
)
SIGNS_VOCABULARY = (
    *VOCABULARY,
    *("word", "sign", "signs", "with", "chart", "bar", "bars", "tallest", "shortest", "taller", "than"),
    *SIGN_WORDS,
)
"""Of the LVLM that knows both worlds: words of the first keep their ids."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'user' %} {% else %}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def build_processor(vocabulary: Sequence[str] = VOCABULARY) -> LlavaProcessor:
    """A word-level tokenizer, CLIP's image processor at `SIDE` pixels, and a LLaVA-1.5 style chat template."""
    ids = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", "USER:", "ASSISTANT:"],
        padding_side="left",
        model_max_length=2048,
    )
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=wrapped,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(vocabulary: Sequence[str] = VOCABULARY) -> LlavaForConditionalGeneration:
    """The embedded LVLM before training: CLIP tower 4 x 128, projector, Llama 4 x 192; 144 visual tokens an image."""
    ids = {word: i for i, word in enumerate(vocabulary)}
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<s>"],
        eos_token_id=ids["</s>"],
        tie_word_embeddings=True,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids["<image>"],
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)
