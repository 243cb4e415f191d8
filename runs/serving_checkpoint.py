"""Makes what serving is measured on: a LLaVA whose LLM dominates, MetaCompress weights, dialogues about noise.

    python runs/serving_checkpoint.py OUT

OUT/model is a checkpoint in the layout of the published LLaVA-1.5 ones, with random weights: an LLM of 4 layers of
width 1,024 behind a small CLIP tower, 576 visual tokens an image. OUT/metacompress are untrained weights for it: what
compression costs and saves does not depend on them. OUT/short and OUT/long are dialogues of two turns and of one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from pinhole.methods.metacompress import MetaCompress

SIDE, PATCH, WIDTH, LAYERS = 336, 14, 1024, 4
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>", "<image>", "USER:", "ASSISTANT:"]
QUESTIONS = ("what is it ?", "which colour is it ?", "how many are there ?", "is it round ?")
WORDS = sorted({word for question in QUESTIONS for word in question.split()})
VOCABULARY = 512
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}</s>{% else %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def processor() -> LlavaProcessor:
    """Words that a blank divides: an answer is read again as the tokens that it was."""
    words = [*SPECIALS, *WORDS]
    words += [f"w{i}" for i in range(VOCABULARY - len(words))]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "USER:", "ASSISTANT:"],
        model_max_length=4096,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=wrapped,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
        image_token="<image>",
    )


def model(width: int = WIDTH, layers: int = LAYERS) -> LlavaForConditionalGeneration:
    """Random weights, wide enough that the likeliest token is clear, and never a special one."""
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=128,
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=11 * width // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=SPECIALS.index("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-2,
    )
    torch.manual_seed(0)
    made = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 1.2 / parameter[0].numel() ** 0.5)
        made.lm_head.weight[: len(SPECIALS)] = 0
    return made


def published_names(path: Path) -> None:
    """Rename a checkpoint's tensors as the published ones have them, which vLLM reads."""

    def renamed(name: str) -> str:
        name = name.removeprefix("model.")
        if name.startswith("lm_head."):
            return f"language_model.{name}"
        if name.startswith("language_model.") and not name.startswith(
            ("language_model.model.", "language_model.lm_head.")
        ):
            return name.replace("language_model.", "language_model.model.", 1)
        if name.startswith("vision_tower.") and not name.startswith("vision_tower.vision_model."):
            return name.replace("vision_tower.", "vision_tower.vision_model.", 1)
        return name

    save_file({renamed(name): tensor for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


def write_dialogues(folder: Path, count: int, turns: int, seed: int) -> None:
    """Pictures of noise, and as many questions about each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        pixels = rng.integers(0, 256, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / f"{i}.png")
        asked = [{"question": QUESTIONS[(i + j) % len(QUESTIONS)], "answer": "none"} for j in range(turns)]
        lines.append(json.dumps({"id": f"{i}", "image": f"{i}.png", "turns": asked}))
    (folder / "dialogues.jsonl").write_text("\n".join(lines) + "\n")


def write(out: Path, width: int = WIDTH, layers: int = LAYERS) -> None:
    """All of it."""
    model(width, layers).save_pretrained(out / "model")
    published_names(out / "model" / "model.safetensors")
    processor().save_pretrained(out / "model")
    MetaCompress.create(width).save_pretrained(out / "metacompress")
    write_dialogues(out / "short", 64, 2, seed=0)
    write_dialogues(out / "long", 96, 1, seed=1)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
