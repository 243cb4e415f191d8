"""From a model, dialogues and bounds to the cheapest setting that holds; one call, which a killed process repeats."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.choose.betting import fewest_dialogues
from pinhole.choose.bounds import Bounds
from pinhole.choose.candidates import Candidate, candidates
from pinhole.choose.entrants import enter
from pinhole.choose.field import Field
from pinhole.choose.found import mark_front, row_of
from pinhole.choose.race import Race, looks
from pinhole.choose.settings import SearchSettings
from pinhole.data import Dialogue
from pinhole.evaluation.answers import Answered, AnswerFile
from pinhole.evaluation.contender import contenders
from pinhole.evaluation.evaluate import Names, described
from pinhole.evaluation.paired import right_of
from pinhole.evaluation.provenance import commit, hardware, versions
from pinhole.evaluation.results import save
from pinhole.evaluation.runner import EvalSettings
from pinhole.families import family_of


def search(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dialogues: list[Dialogue],
    out: Path,
    names: Names,
    searched: SearchSettings,
    settings: EvalSettings,
    *,
    tell: Callable[[str], None],
    show_progress: bool = True,
) -> dict[str, Any]:
    """Search; writes answers as they come, the times, and `choose.json` at the end.

    Args:
        model: the LVLM.
        processor: its own.
        dialogues: a sample of what the model will be asked; they are held in random order.
        out: folder; what it holds already is not done again.
        names: for the results.
        searched: what is searched.
        settings: how dialogues are held.
        tell: is given a line after each look.
        show_progress: draw progress bars.

    Returns:
        what `choose.json` holds: "rows" as `row_of` gives them, "chosen" and "nearest" among them or None, "full",
        "refused", and what they were made with.

    Raises:
        ValueError: nothing can be searched, or there are too few dialogues to show what is asked.
    """
    family, bounds = family_of(model), searched.bounds
    found, refused = candidates(searched.methods, searched.keeps, family)
    check(dialogues, len(found), bounds)
    [full] = contenders(["full"], [1.0], family.shape)
    file = AnswerFile(out, described(model, names, settings))
    field = Field(model, processor, full, file, settings, show_progress)
    order = random.Random(searched.seed).sample(dialogues, len(dialogues))
    entrants = enter(field, found, order, searched, out / "times.json")
    costs = entrants.ttft_ms if searched.cost == "ttft" else entrants.flops
    longest = max(len(dialogue.turns) for dialogue in dialogues)
    priced = {one.contender.key: costs[one.contender.key] for one in entrants.able}
    race = Race(priced, longest, bounds.max_loss, bounds.confidence)
    answers = run(race, field, entrants.able, order, searched.first, tell)
    rows = [row_of(one, *answers[one.contender.key], race, entrants.flops, entrants.ttft_ms) for one in entrants.able]
    mark_front(rows, "ttft_ms" if searched.cost == "ttft" else "flops")
    best = race.chosen({row["contender"]: row["accuracy"] for row in rows})
    results = {
        "model": names.model,
        "data": names.data,
        "asked": {**asdict(bounds), "cost": searched.cost},
        "full": {"flops": entrants.flops[full.key], "ttft_ms": entrants.ttft_ms.get(full.key)},
        "chosen": next((row for row in rows if row["contender"] == best), None),
        "nearest": min(rows, key=lambda row: (row["loss_at_most"], row["loss"])),
        "rows": rows,
        "slow": entrants.slow,
        "refused": refused + entrants.refused,
    }
    return save(out / "choose.json", results | {"commit": commit(), "versions": versions(), "hardware": hardware()})


def run(
    race: Race,
    field: Field,
    able: Sequence[Candidate],
    order: list[Dialogue],
    first: int,
    tell: Callable[[str], None],
) -> dict[str, tuple[list[Answered], list[Answered]]]:
    """Look by look, until nothing is undecided or all dialogues were held.

    Returns:
        of each setting its answers, to as many dialogues as it was held in, and the uncompressed model's to the same.
    """
    answers: dict[str, tuple[list[Answered], list[Answered]]] = {}
    for size in looks(len(order), first):
        here = [one.contender for one in able if one.contender.key in race.alive]
        is_decided = race.max_loss is None and len(here) == 1 and bool(answers)
        if not here or is_decided:
            break
        held = field.hold(here, order[:size])
        asked = np.array([len(dialogue.turns) for dialogue in order[:size]])
        right = {contender.key: right_of(held[contender.key]) for contender in here}
        full = held[field.full.key]
        race.look(right, right_of(full), asked)
        answers |= {key: (held[key], full) for key in right}
        holding = sum(state == "holds" for state in race.states.values())
        tell(f"{size} dialogues: of {len(here)} setting(s) {len(race.alive)} undecided; {holding} hold(s) so far")
    return answers


def check(dialogues: list[Dialogue], settings: int, bounds: Bounds) -> None:
    """Refuse dialogues that cannot show what is asked.

    Raises:
        ValueError: a judge scores them, or so few that no setting could be shown to hold even if it changed no answer.
    """
    if any(turn.scoring == "judge" for dialogue in dialogues for turn in dialogue.turns):
        raise ValueError("settings are chosen by answers that need no judge: give dialogues with reference answers")
    if bounds.max_loss is None:
        return
    needed = fewest_dialogues(bounds.max_loss, (1 - bounds.confidence) / settings)
    if len(dialogues) < needed:
        raise ValueError(
            f"{len(dialogues)} dialogues cannot show that one of {settings} settings loses at most "
            f"{100 * bounds.max_loss:g} %, even if no answer changes: it takes {needed}; give more dialogues, fewer "
            "--methods and --keep, or a larger --max-loss"
        )
