"""What methods decide for one picture or video, and what the answer to a question about it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.decide import decide
from pinhole.encoding import decode_answers, encode_turn
from pinhole.explain.labeller import answer_tokens
from pinhole.explain.rollout import relevance
from pinhole.families import family_of
from pinhole.families.first_layer import of_prompt
from pinhole.families.parts import Visual
from pinhole.method import InputMethod
from pinhole.methods.relevance import Relevance
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.session import Session
from pinhole.transcript import Transcript
from pinhole.videos import Video
from pinhole.view.asking import Asked, decisions
from pinhole.view.crop import seen_part
from pinhole.view.subject import Modality, Subject

UNASKED = "Describe what you see."
"""The question that methods read where none is asked."""
ROLLOUT = "R_v: what the answer rests on"
"""What relevance by rollout is called among `Subject.relevance`."""


@torch.no_grad()
def look(
    model: PreTrainedModel, processor: ProcessorMixin, method: InputMethod, image: Image.Image
) -> tuple[Reduction, tuple[int, int] | None]:
    """The reduction of `image` and the (rows, columns) of its visual tokens, None where they fill no grid.

    Args:
        model: encodes the image.
        processor: its own.
        method: decides; it must not read the prompt.
        image: RGB.
    """
    text = Transcript(processor).question("?", images=1)
    [encoded], _ = family_of(model).encode(encode_turn(model, processor, [text], [image]), method.needs)
    return decide(method, encoded, Scope()), encoded.tokens.grid


def predicted(asked: Sequence[Asked], visual: Visual) -> dict[str, torch.Tensor]:
    """(n,) the relevance that each `relevance` method among them tells from attention, by its label."""
    found = {}
    for one in asked:
        method = one.contender.plan.entry
        if isinstance(method, Relevance) and one.contender.plan.layer is None:
            [cue] = method.needs
            with torch.no_grad():
                found[f"Predicted by {one.label}"] = method(visual.tokens.cues[cue].mean(-1)).exp()
    return found


def explained(
    model: PreTrainedModel, processor: ProcessorMixin, inputs: dict[str, Any], max_new_tokens: int
) -> tuple[str, torch.Tensor | None]:
    """The uncompressed model's answer, and (n,) R_v of the only picture or video; None where the answer is empty."""
    ids = Session(model).ask(dict(inputs), max_new_tokens=max_new_tokens, do_sample=False)
    [(answer, _)] = decode_answers(model, processor, ids)
    tokens = answer_tokens(model, processor, ids[0])
    return answer, relevance(family_of(model), inputs, tokens)[0] if len(tokens) else None


def look_at(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    picture: Image.Image | Video,
    question: str | None,
    asked: Sequence[Asked],
    scope: Scope | None = None,
    *,
    number: int = 0,
    name: str = "",
    explain: bool = True,
    max_new_tokens: int = 32,
) -> Subject:
    """All there is to see of one picture or video with one question.

    Args:
        model: the LVLM.
        processor: its own.
        picture: an RGB image, or a video.
        question: None asks nothing; methods that read a question read `UNASKED` then.
        asked: the methods, as `entrants` gives them.
        scope: how they are applied.
        number: of the picture among those that are drawn.
        name: of the picture.
        explain: whether a question is answered, and what the answer rests on is found.
        max_new_tokens: limit of the answer.
    """
    images, videos = ([], [picture]) if isinstance(picture, Video) else ([picture], [])
    text = Transcript(processor).question(question or UNASKED, len(images), len(videos))
    inputs = encode_turn(model, processor, [text], images, videos=videos)
    made, visual = decisions(model, inputs, asked, scope or Scope())
    modality: Modality = "image"
    if isinstance(picture, Video):
        modality, (count, height, width) = "video", picture.frames.shape[:3]
    else:
        count, (width, height) = 1, picture.size
    layout = visual.tokens.layout.within(seen_part(processor, modality, (width, height)))
    made = [replace(one, reduction=one.reduction.placed(layout)) for one in made]
    answer, found = None, dict[str, torch.Tensor]()
    if question is not None and explain:
        answer, r_v = explained(model, processor, inputs, max_new_tokens)
        found = {} if r_v is None else {ROLLOUT: r_v}
        found |= predicted(asked, visual)
    plans = [one.contender.plan for one in asked]
    reads = any(plan.layer is not None or of_prompt(plan.entry.needs) for plan in plans)
    instead = UNASKED if reads and question is None else None
    return Subject(number, name, modality, (width, height), count, question, instead, answer, made, found)
