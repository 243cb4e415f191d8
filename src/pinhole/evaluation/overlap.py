"""Which tokens a reduction keeps beside those that attention ranks first: MetaCompress's analysis of its fitted P.

Attention is a cue of `pinhole.families`: `cls_attention` of the encoder, or `received_attention` where there is no
[CLS] token; and `first_layer_attention`, the LLM's first look from the first question at the image, the mean over the
question's tokens. Kept tokens are the anchors of a reduction: in each row of P the token that weighs most, each counted
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.data import Dialogue
from pinhole.encoding import encode_turn
from pinhole.evaluation.statistics import mean_interval
from pinhole.families import family_of
from pinhole.families.base import Family
from pinhole.families.parts import Visual
from pinhole.reduction import Reduction
from pinhole.transcript import Transcript

PROMPT = "first_layer_attention"
ENCODER = ("cls_attention", "received_attention")
"""Of these the first that a family gives."""


@dataclass(frozen=True)
class Overlap:
    """Of one image.

    Attributes:
        n: visual tokens.
        m: rows of P, and how many tokens each cue puts forward.
        kept: different tokens among the anchors, at most m.
        shared: by cue, how many of these are among the m tokens that the cue ranks first.
    """

    n: int
    m: int
    kept: int
    shared: dict[str, int]

    @property
    def chance(self) -> float:
        """The expected `shared` / m of m tokens drawn at random: kept / n, which is m / n where no anchor repeats."""
        return self.kept / self.n


def cues_of(family: Family) -> tuple[str, ...]:
    """The cues that a family gives to compare with: one of its encoder, if there is any, and the prompt's."""
    return (*[name for name in ENCODER if name in family.provides][:1], PROMPT)


@torch.no_grad()
def first_look(
    model: PreTrainedModel, processor: ProcessorMixin, dialogue: Dialogue, needs: frozenset[str]
) -> list[Visual]:
    """The images of a dialogue as the LLM reads them with the first question, with these cues."""
    text = Transcript(processor).question(dialogue.turns[0].question, len(dialogue.images))
    return family_of(model).encode(encode_turn(model, processor, [text], dialogue.load_images()), needs)[0]


def top_tokens(cue: torch.Tensor, m: int) -> torch.Tensor:
    """(m,) int64 the tokens that a cue ranks first, in rising order; of equal ones those that come first.

    Args:
        cue: (n,), or (n, T) of which the mean over T counts.
        m: how many.
    """
    scores = cue if cue.dim() == 1 else cue.mean(1)
    return scores.argsort(descending=True, stable=True)[:m].sort().values


def overlap_of(reduction: Reduction, tops: dict[str, torch.Tensor]) -> Overlap:
    """How many kept tokens are among those that cues rank first.

    Args:
        reduction: of n tokens to m.
        tops: by cue, (m,) tokens.
    """
    kept = set(reduction.anchors.tolist())
    shared = {name: len(kept & set(tokens.tolist())) for name, tokens in tops.items()}
    return Overlap(reduction.n, reduction.m, len(kept), shared)


def summary(dialogues: Sequence[Sequence[Overlap]]) -> dict[str, Any]:
    """Means over all images: "kept" and "chance" as shares, and by cue the mean of shared / m with its 95 % interval.

    The interval is a bootstrap over dialogues.

    Args:
        dialogues: for each the overlaps of its images, all with the same cues.
    """
    images = np.array([len(overlaps) for overlaps in dialogues])
    every = [found for overlaps in dialogues for found in overlaps]
    cues = {}
    for name in every[0].shared:
        shares = np.array([sum(found.shared[name] / found.m for found in overlaps) for overlaps in dialogues])
        cues[name] = {"overlap": float(shares.sum() / images.sum()), "ci95": mean_interval(shares, images)}
    return {
        "images": len(every),
        "kept": float(np.mean([found.kept / found.m for found in every])),
        "chance": float(np.mean([found.chance for found in every])),
        "cues": cues,
    }
