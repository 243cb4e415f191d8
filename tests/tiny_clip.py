"""A CLIP checkpoint as published, with its sizes scaled down: the one that the zoo's CLIP encoders could be from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from checkpoints.parts import CORPUS
from zoo.parts import tower

WORDS, START, END = 300, 298, 299


def write(folder: Path, seed: int = 0, **text: Any) -> hf.CLIPModel:
    """Both towers and the tokenizer in `folder`; the model itself, in float64.

    Args:
        folder: is made.
        seed: of the weights.
        text: settings of the text tower.
    """
    shared = {"projection_dim": 12}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, **shared}
    ids = {"vocab_size": WORDS, "bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
    vision = tower(hf.CLIPVisionConfig, **shared).to_dict()
    config = hf.CLIPConfig(
        text_config={**sizes, **ids, **text}, vision_config=vision, logit_scale_init_value=1.0, **shared
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        clip = hf.CLIPModel(config).double().eval()
    with torch.no_grad():
        for parameter in clip.parameters():
            if parameter.dim():
                parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    clip.save_pretrained(folder)
    _tokenizer(folder)
    return clip


def _tokenizer(folder: Path) -> None:
    """Bytes in lower case, `</w>` behind a word, with the files that CLIP's has."""
    words = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=START, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    words.train_from_iterator(CORPUS, trainer)
    bpe = json.loads(words.to_str())["model"]
    vocabulary = {**bpe["vocab"], "<|startoftext|>": START, "<|endoftext|>": END}
    merges = [tuple(pair) for pair in bpe["merges"]]
    hf.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77).save_pretrained(folder)
