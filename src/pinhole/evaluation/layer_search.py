"""From which layer on an LLM can do without visual tokens: VTW's search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.compression import compress
from pinhole.data import Dialogue
from pinhole.encoding import encode_turn
from pinhole.families import family_of
from pinhole.methods.vtw import VTW
from pinhole.progress import tracked
from pinhole.transcript import Transcript


@dataclass(frozen=True)
class LayerSearch:
    """What a search found.

    Attributes:
        eta: the divergence that is allowed.
        divergences: the mean divergence, in nats, where visual tokens leave in front of each layer.
    """

    eta: float
    divergences: dict[int, float]

    @property
    def layer(self) -> int | None:
        """The first layer whose mean divergence is at most eta; None where there is none."""
        return next((layer for layer, mean in self.divergences.items() if mean <= self.eta), None)


def search_layer(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dialogues: list[Dialogue],
    eta: float = 0.003,
    smallest: int = 5,
    show_progress: bool = True,
) -> LayerSearch:
    """Compare what the model says next with and without visual tokens from each layer on.

    VTW's search: the divergence of the distributions at the prompt's last token, the mean over the samples (the paper
    takes 20 of a task), and the first layer from the fifth on where it is small enough. Its public code allows 0.003,
    for LLaVA-1.5-13B 0.0005 and for LLaVA-NeXT-7B 0.0001.

    Args:
        model: the LVLM.
        processor: its own.
        dialogues: the samples, of which the first questions are read.
        eta: the divergence, in nats, that is allowed.
        smallest: the first layer to try, from 1 on.
        show_progress: draw a progress bar.

    Raises:
        ValueError: no dialogues, the LLM has no layer `smallest`, or no tokens can leave in front of it.
    """
    layers = range(smallest, len(family_of(model).language_model.layers))
    if not dialogues:
        raise ValueError("give dialogues to search a layer with")
    if smallest < 1 or not layers:
        raise ValueError(f"this LLM has layers 0 to {layers.stop - 1}: start at 1 to {layers.stop - 1}, not {smallest}")
    sums = dict.fromkeys(layers, 0.0)
    for dialogue in tracked(dialogues, "searching", show_progress):
        text = Transcript(processor).question(dialogue.turns[0].question, len(dialogue.images))
        inputs = encode_turn(model, processor, [text], dialogue.load_images())
        full = _last_logits(model, inputs)
        for layer in layers:
            with compress(model, VTW(layer=layer)):
                sums[layer] += divergence(_last_logits(model, inputs), full)
    return LayerSearch(eta, {layer: total / len(dialogues) for layer, total in sums.items()})


def divergence(cut: torch.Tensor, full: torch.Tensor) -> float:
    """KL(softmax(cut) || softmax(full)) of logits (vocabulary,), in nats."""
    cut, full = (logits.float().log_softmax(-1) for logits in (cut, full))
    return F.kl_div(full, cut, reduction="sum", log_target=True).item()


@torch.no_grad()
def _last_logits(model: PreTrainedModel, inputs: dict[str, Any]) -> torch.Tensor:
    return model(**inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
