"""The overlap analysis as a whole: what P keeps of each dialogue's images beside what attention ranks first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.budget import Keep
from pinhole.data import Dialogue
from pinhole.decide import check, check_scope, decide
from pinhole.devices import input_device
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names
from pinhole.evaluation.overlap import cues_of, first_look, overlap_of, top_tokens
from pinhole.evaluation.overlap_file import OverlapFile
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.families import family_of
from pinhole.families.parts import Visual
from pinhole.loading import fingerprint
from pinhole.progress import tracked
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.training.fit import fit_reduction
from pinhole.view.overlap_sheet import overlap_sheet


class Answer(NamedTuple):
    """What was decided for a dialogue's images, and numbers to note beside it."""

    reductions: list[Reduction]
    noted: dict[str, float]


class Chooser(ABC):
    """What decides which tokens stay.

    Attributes:
        key: names it, with all that its choice depends on beside the scope.
        scope: how the choice is applied.
        needs: the cues it reads.
    """

    key: str
    scope: Scope
    needs: frozenset[str] = frozenset()

    @abstractmethod
    def choose(self, dialogue: Dialogue, visuals: list[Visual]) -> Answer:
        """Decide for a dialogue's images; `visuals` are these as the LLM reads them with the first question."""


class Fitted(Chooser):
    """P is fitted to each dialogue.

    Args:
        model: the LVLM.
        processor: its own.
        keep: share or count of the visual tokens that remain.
        scope: how P is applied.
        steps: of each fit.
        seed: of each fit's start.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        keep: Keep = 0.1,
        scope: Scope | None = None,
        steps: int = 500,
        seed: int = 0,
    ) -> None:
        self._model, self._processor, self.scope = model, processor, scope or Scope()
        self._keep, self._steps, self._seed = keep, steps, seed
        self.key = f"fit keep={keep} steps={steps} seed={seed}"

    def choose(self, dialogue: Dialogue, visuals: list[Visual]) -> Answer:
        """Fit; the KL before and after is noted."""
        scope = asdict(self.scope)
        fit = fit_reduction(
            self._model, self._processor, dialogue, self._keep, steps=self._steps, seed=self._seed, **scope
        )
        return Answer(fit.reductions, {"kl_start": fit.kl_start, "kl_end": fit.kl_end})


class Decided(Chooser):
    """A method decides, as it would in a dialogue.

    Args:
        model: the LVLM.
        spec: the method as written on the command line.
        keep: for a method that has none of its own.
        scope: how it is applied.

    Raises:
        ValueError: it does not act at the LLM's input, or does not fit the model.
    """

    def __init__(self, model: PreTrainedModel, spec: str, keep: Keep = 0.1, scope: Scope | None = None) -> None:
        family, self.scope = family_of(model), scope or Scope()
        [contender] = contenders([spec], [keep], family.shape)
        if contender.plan.layer is not None:
            raise ValueError(f"{spec} drops tokens inside the LLM: give a method at its input, such as divprune")
        self._method, self.key, self.needs = contender.plan.entry, contender.key, contender.plan.entry.needs
        check(self._method, family)
        if isinstance(self._method, torch.nn.Module):
            self._method.to(input_device(model))

    @torch.no_grad()
    def choose(self, dialogue: Dialogue, visuals: list[Visual]) -> Answer:
        """Ask the method about each image."""
        return Answer([decide(self._method, visual, self.scope) for visual in visuals], {})


def compare(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dialogues: list[Dialogue],
    chooser: Chooser,
    out: Path,
    names: Names,
    *,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Compare what `chooser` keeps of each dialogue's images with what attention ranks first.

    Args:
        model: the LVLM.
        processor: its own.
        dialogues: each is one sample of the mean; its first question is the one that attends.
        chooser: decides.
        out: folder for `overlap.json`, which is written dialogue by dialogue, `reductions/` with every P and
            `pictures/` with a sheet of every image whose tokens fill one grid; dialogues that it holds are left out.
        names: for the results.
        show_progress: draw a progress bar.

    Returns:
        what `overlap.json` holds.

    Raises:
        ValueError: no dialogues, or `out` holds the overlaps of another choice.
    """
    if not dialogues:
        raise ValueError("give dialogues to compare on")
    cues = cues_of(family_of(model))
    check_scope(chooser.scope, family_of(model))
    settings = {
        "method": chooser.key,
        **asdict(chooser.scope),
        "weights": fingerprint(model),
        "dtype": str(model.dtype),
    }
    made_with = {"commit": commit(), "versions": versions(), "hardware": hardware()}
    file = OverlapFile(out / "overlap.json", {"model": names.model, "data": names.data, **settings}, made_with)
    for folder in ("reductions", "pictures"):
        (out / folder).mkdir(exist_ok=True)
    for number, dialogue in enumerate(tracked(dialogues, "comparing", show_progress)):
        if file.has(dialogue):
            continue
        visuals = first_look(model, processor, dialogue, chooser.needs | {*cues})
        answer = chooser.choose(dialogue, visuals)
        overlaps = []
        for i, (visual, image) in enumerate(zip(visuals, dialogue.load_images(), strict=True)):
            reduction = answer.reductions[i].placed(visual.tokens.layout)
            tops = {name: top_tokens(visual.tokens.cues[name], reduction.m) for name in cues}
            overlaps.append(overlap_of(reduction, tops))
            name = f"{number:04d}-{i}"
            reduction.save(out / "reductions" / f"{name}.safetensors")
            if visual.tokens.grid:
                sheet = overlap_sheet(dialogue.turns[0].question, image, visual.tokens.grid, reduction, tops)
                sheet.savefig(out / "pictures" / f"{name}.png")
        file.add(dialogue, overlaps, answer.noted)
    return file.finish(dialogues)
