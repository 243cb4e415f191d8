"""Asks methods, as the command line names them, about the picture or video of one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from pinhole.budget import Keep
from pinhole.compression import compress
from pinhole.decide import check_plan, check_scope, decide
from pinhole.devices import input_device
from pinhole.evaluation.contender import Contender, contenders, parse_specs
from pinhole.families import family_of
from pinhole.families.parts import Visual
from pinhole.last_logits import last_logits
from pinhole.scope import Scope
from pinhole.view.cells import method_label
from pinhole.view.subject import Decision


@dataclass(frozen=True, eq=False)
class Asked:
    """A method at a keep that was asked for.

    Attributes:
        label: what to call the method.
        keep: what was asked for.
        contender: the method with its settings.
    """

    label: str
    keep: Keep
    contender: Contender


def entrants(model: PreTrainedModel, specs: Sequence[str], keeps: Sequence[Keep]) -> list[Asked]:
    """Every method at every keep; one that takes no keep, or has its own, at the first alone.

    Args:
        model: that they shall work on.
        specs: the methods as written on the command line.
        keeps: shares or counts.

    Raises:
        ValueError: a method that cannot be read or does not fit the model.
    """
    family, found = family_of(model), []
    for spec in specs:
        seen: set[str] = set()
        for keep in keeps:
            [contender] = contenders([spec], [keep], family.shape)
            check_plan(contender.plan, family)
            if contender.key not in seen:
                found.append(Asked(_label(spec), keep, contender))
            seen.add(contender.key)
    return found


def _label(text: str) -> str:
    """The methods' names, each with what was written behind it, of a path its last part; and which are untrained."""
    labels = []
    for spec in parse_specs(text):
        notes = [spec.source.rstrip("/").rpartition("/")[2]] if spec.source else []
        notes += ["untrained"] * spec.is_untrained
        notes += [f"{name}={value}" for name, value in spec.given.items()]
        labels.append(method_label(spec.name) + (f" ({', '.join(notes)})" if notes else ""))
    return " + ".join(labels)


@torch.no_grad()
def decisions(
    model: PreTrainedModel, inputs: dict[str, Any], asked: Sequence[Asked], scope: Scope
) -> tuple[list[Decision], Visual]:
    """What methods decide for the only picture or video of a prompt.

    Args:
        model: encodes it, and reads the prompt for methods that let tokens leave inside.
        inputs: the model's.
        asked: the methods.
        scope: how they are applied.

    Returns:
        the decisions in the order of `asked`, and the picture with all cues that methods at the input need.
    """
    family = family_of(model)
    check_scope(scope, family)
    plans = [one.contender.plan for one in asked]
    needs = frozenset[str]().union(*(plan.entry.needs for plan in plans if plan.layer is None))
    [visual], _ = family.encode(inputs, needs)
    made = []
    for one, plan in zip(asked, plans, strict=True):
        if isinstance(plan.entry, torch.nn.Module):
            plan.entry.to(input_device(model))
        cuts = {}
        if plan.layer is None:
            reduction = decide(plan.entry, visual, scope)
        else:
            with compress(model, one.contender.methods, **asdict(scope)) as compression:
                model(**inputs, **last_logits(model))
            [reduction] = compression.reductions
            cuts = {layer: cut for layer, [cut] in compression.layer_reductions.items()}
        made.append(Decision(one.label, one.keep, reduction, cuts, len(family.language_model.layers)))
    return made, visual
