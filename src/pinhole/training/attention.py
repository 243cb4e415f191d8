"""What labelled questions look at in their images, before the LLM has thought: once for all epochs, kept on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue, digest
from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.launch import Share
from pinhole.loading import fingerprint
from pinhole.progress import tracked
from pinhole.training.recipe import Task
from pinhole.transcript import Transcript

Asked = tuple[Dialogue, str]
"""A dialogue, whose images are looked at, and a question about them."""
LOOKING = "looking at the images"


@torch.no_grad()
def attention_of(
    model: PreTrainedModel, processor: ProcessorMixin, dialogue: Dialogue, question: str, cue: str
) -> list[torch.Tensor]:
    """A_v (n_i,) of each image, float32: the mean of `cue` over the instruction's tokens, nothing else being asked.

    Args:
        model: the LVLM; it reads every visual token.
        processor: its own.
        dialogue: its images.
        question: about them.
        cue: attention (n, T), see `pinhole.families.first_layer`.
    """
    text = Transcript(processor).question(question, len(dialogue.images))
    inputs = encode_turn(model, processor, [text], dialogue.load_images())
    visuals, _ = family_of(model).encode(inputs, {cue})
    return [visual.tokens.cues[cue].mean(-1).cpu() for visual in visuals]


def attentions(task: Task, asked: list[Asked], cue: str) -> list[list[torch.Tensor]]:
    """`attention_of` each, from the cache where it is there; what is missing there is shared among the processes.

    Args:
        task: its model, processor, data and cache. Without a cache every process computes all of them.
        asked: what is asked.
        cue: as in `attention_of`.

    Raises:
        ValueError: the cache holds what another model or other data gave.
    """
    share = Share.of_launch(task.model)
    shown = task.show_progress and share.rank == 0
    if task.cache is None:
        return [attention_of(task.model, task.processor, *one, cue) for one in tracked(asked, LOOKING, shown)]
    _claim(task, task.cache, share)
    files = [task.cache / _name(*one, cue) for one in asked]
    left = [i for i, file in enumerate(files) if not file.exists()]
    share.wait()  # until every process knows what is left, none writes
    each = -(-len(left) // share.count)
    mine = [left[i % len(left)] for i in range(share.rank * each, (share.rank + 1) * each)]  # as many in every process
    for i in tracked(mine, LOOKING, shown):
        found = attention_of(task.model, task.processor, *asked[i], cue)
        partial = files[i].with_suffix(f".{share.rank}.part")
        save_file({str(number): a.contiguous() for number, a in enumerate(found)}, partial)
        partial.replace(files[i])
    share.wait()
    return [_read(file) for file in files]


def _claim(task: Task, cache: Path, share: Share) -> None:
    """Say in the folder what it depends on, or refuse it."""
    source = {"model": fingerprint(task.model), "dtype": str(task.model.dtype), "data": digest(task.dialogues)}
    described = cache / "attention.json"
    if described.exists() and json.loads(described.read_text()) != source:
        raise ValueError(f"{cache} caches another model's attention, or attention on other data: give another folder")
    share.wait()
    if share.rank == 0:
        cache.mkdir(parents=True, exist_ok=True)
        described.write_text(json.dumps(source) + "\n")
    share.wait()


def _name(dialogue: Dialogue, question: str, cue: str) -> str:
    asked = json.dumps([dialogue.id, question, cue])
    return f"attention-{hashlib.sha256(asked.encode()).hexdigest()[:20]}.safetensors"


def _read(file: Path) -> list[torch.Tensor]:
    found = load_file(file)
    return [found[str(number)] for number in range(len(found))]
