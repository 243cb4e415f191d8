"""What a method keeps of a picture, drawn for the page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from pinhole.budget import Budget
from pinhole.demo.host import Host
from pinhole.evaluation.contender import Contender
from pinhole.plan import Plan
from pinhole.reduction import Reduction
from pinhole.view.asking import Asked
from pinhole.view.cells import percent, tokens
from pinhole.view.embed import data_url
from pinhole.view.look import look_at
from pinhole.view.marks import Key, of_decision
from pinhole.view.panels import panels


@dataclass(frozen=True)
class Kept:
    """What there is to see.

    Attributes:
        pictures: a `data:` URL and a caption for each grid of visual tokens.
        legend: what is what in them.
        figures: visual tokens kept, in words.
        share: of all of them, in per cent.
        note: what else must be said; may be empty.
    """

    pictures: list[tuple[str, str]]
    legend: list[Key]
    figures: str
    share: str
    note: str


def kept(
    host: Host,
    plan: Plan,
    picture: Image.Image,
    question: str | None = None,
    reduction: Reduction | None = None,
) -> Kept:
    """What is kept, from a look at the picture.

    Args:
        host: the model.
        plan: the method.
        picture: to look at.
        question: that was asked about it; None where nothing was asked yet.
        reduction: what a conversation decided at the LLM's input; None decides here.
    """
    methods = (plan.entry,) if plan.layer is None else (plan.entry, plan.layer)
    asked = Asked("", 1.0, Contender("", methods, None))
    subject = look_at(host.model, host.processor, picture, question, [asked], host.scope, explain=False)
    [decision] = subject.decisions
    if reduction is not None and plan.layer is None:
        decision = replace(decision, reduction=reduction.placed(decision.layout))
    marks, legend = of_decision(decision)
    drawn = [(data_url(panel.image, "WEBP"), panel.caption) for panel in panels([picture], decision.layout, marks)]
    budget = plan.budget(decision.reduction.n, decision.reduction.m, host.family.shape.layers)
    note = (
        f"This method reads the question. Before the first one: as for “{subject.instead}”" if subject.instead else ""
    )
    return Kept(drawn, legend, figures(budget), percent(budget.average / budget.before), note)


def figures(budget: Budget) -> str:
    """Visual tokens that are kept, in words: "14 of 144"; behind a cut, by layer too."""
    return tokens({"kept_tokens": budget.average, "visual_tokens": budget.before, "per_layer": budget.per_layer})
