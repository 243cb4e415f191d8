"""Checkpoints of every family as they are published, with the zoo's tiny models: folders that `load` reads.

Each has the files, the names and the settings of a published one, with its sizes scaled down. Tokenizers are trained on
a few words; their special tokens are the family's own, at the ids that the zoo's models know. The chat templates print
what the published ones print.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin

from checkpoints import gemma, glm, idefics, internvl, llava, mistral, mosaic, qwen, squares
from checkpoints.parts import Published, picture
from pinhole.loading import load
from zoo import ZOO
from zoo.parts import WORDS

__all__ = ["PUBLISHED", "Published", "opened", "picture", "write"]
PUBLISHED: dict[str, Published] = {
    **llava.PUBLISHED,
    **qwen.PUBLISHED,
    **internvl.PUBLISHED,
    **idefics.PUBLISHED,
    **gemma.PUBLISHED,
    **glm.PUBLISHED,
    **squares.PUBLISHED,
    **mosaic.PUBLISHED,
    **mistral.PUBLISHED,
}


def write(family: str, folder: Path, **build: Any) -> Path:
    """The checkpoint of a family in `folder`, which is made; its model is float64 unless `build` says otherwise."""
    published = PUBLISHED[family]
    model = ZOO[family].build(**build)
    model.config.update(published.config)
    tokenizer = published.words()
    last = max(published.marks)
    tokenizer.add_special_tokens([published.marks.get(id, f"<|reserved_{id}|>") for id in range(WORDS, last + 1)])
    ends = [tokenizer.token_to_id(token) for token in published.ends]
    model.generation_config = GenerationConfig(
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=tokenizer.token_to_id(published.tokenizer["pad_token"]),
        **published.generation,
    )
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in {"tokenizer_config.json": published.tokenizer, **published.processor}.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    (folder / "chat_template.jinja").write_text(published.template)
    return folder


@functools.cache
def opened(family: str) -> tuple[PreTrainedModel, ProcessorMixin]:
    """A family's model and processor, loaded from its checkpoint once a process. Tests leave them as they are."""
    dtype = torch.float32 if family.endswith("_moe") else torch.float64  # experts know no float64
    with tempfile.TemporaryDirectory() as folder:
        return load(str(write(family, Path(folder), dtype=dtype)), device="cpu")
