"""What the checkpoints are made of: tokenizers, chat templates, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from zoo.parts import WORDS

CORPUS = [
    "What colour is the circle on the left? How many red squares are there? And in this picture? Which digit is it?",
    " red box two circles blue triangle yes no green dots above below small large a photo of one thing, not the other.",
    "USER: ASSISTANT: user assistant system User: Assistant: You are a helpful assistant. Frame1: <0.5 seconds> [INST]",
]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5]


@dataclass(frozen=True)
class Published:
    """One family's checkpoint.

    Attributes:
        words: makes its tokenizer, without the added tokens.
        tokenizer: `tokenizer_config.json`.
        marks: its added tokens, by id.
        template: `chat_template.jinja`.
        processor: the other files of its processor, by name.
        ends: the tokens that end an answer, the one that it ends with first, as in `generation_config.json`.
        generation: what else is there.
        before_answer: what the template prints between a prompt and its answer.
        printed: what the template prints before an earlier answer, and what stood there when it was the latest.
        mark: what the template prints between an answer and its end.
        unended: where the template prints no end of an answer, what it prints instead.
        config: settings of the model that the zoo has otherwise.
        text_answers: the template takes an answer as text only, not in parts.
        needs_torchvision: its processor does, for images too.
    """

    words: Callable[[], Tokenizer]
    tokenizer: dict[str, Any]
    marks: dict[int, str]
    template: str
    processor: dict[str, dict[str, Any]]
    ends: tuple[str, ...]
    generation: dict[str, Any] = field(default_factory=dict)
    before_answer: str = ""
    printed: tuple[str, str] = ("", "")
    mark: str = ""
    unended: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    text_answers: bool = False
    needs_torchvision: bool = False

    @property
    def end(self) -> str:
        """What ends an answer."""
        return self.mark + self.ends[0]

    def answer(self, text: str) -> dict[str, Any]:
        """An answer as a message."""
        return {"role": "assistant", "content": text if self.text_answers else [{"type": "text", "text": text}]}

    def as_read(self, rendered: str, answers: list[str], ended: bool = True) -> str:
        """A rendered dialogue as a chat reads it turn by turn; `ended` is whether the model ended its answers."""
        then, now = self.printed
        for answer in answers:
            assert then + answer in rendered
            rendered = rendered.replace(then + answer, now + answer)
            if self.unended and ended:
                rendered = rendered.replace(answer + self.unended, answer + self.end + self.unended)
        return rendered


def picture(number: int) -> Image.Image:
    """Noise, in one of three sizes."""
    width, height = [(90, 60), (40, 100), (70, 70)][number % 3]
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _trained(tokenizer: Tokenizer, specials: list[str], blanks: str) -> Tokenizer:
    """Exactly `WORDS` entries: the special tokens, the characters, then merges."""
    alphabet = [chr(code) for code in range(33, 127)] + list(blanks)
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    assert tokenizer.get_vocab_size() == WORDS
    return tokenizer


def llama_words() -> Tokenizer:
    """As Llama's: a blank is part of the word behind it, the first word gets one, and `<s>` starts every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _trained(tokenizer, ["<unk>", "<s>", "</s>"], "▁\n")


def gemma_words() -> Tokenizer:
    """As Gemma's: a blank is part of the word behind it, and no word gets one; `<bos>` starts every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return _trained(tokenizer, ["<pad>", "<eos>", "<bos>", "<unk>"], "▁\n")


def byte_words(*specials: str) -> Tokenizer:
    """As GPT-2's and Qwen's: bytes, with blanks as they are."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, [*specials], "ĠĊ")


def chatml_words() -> Tokenizer:
    """Qwen's first special tokens."""
    return byte_words("<|endoftext|>", "<|im_start|>", "<|im_end|>")


CHATML = {
    "tokenizer_class": "Qwen2Tokenizer",
    "add_prefix_space": False,
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
}
CHATML_ENDS = ("<|im_end|>", "<|endoftext|>")


def parts_of(kind: str, shown: str) -> str:
    """A template's loop over one kind of part."""
    return "{% for part in message.content if part.type == '" + kind + "' %}" + shown + "{% endfor %}"


def chatml_template(image: str, video: str, system: str = "") -> str:
    """Content in its own order, as text or in parts; `system` where the dialogue has no system message."""
    first = "{{ '<|im_start|>system\\n" + system + "<|im_end|>\\n' if loop.first and message.role != 'system' }}"
    return (
        "{% for message in messages %}"
        + (first if system else "")
        + "{{ '<|im_start|>' + message.role + '\\n' }}{% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{% if part.type == 'image' %}"
        + image
        + "{% elif part.type == 'video' %}"
        + video
        + "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
        "{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"
    )
