"""What is known of each method without measuring, and which ones answer a need: for runs/choosing_page.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from transformers import AutoConfig

from pinhole.families.base import Family
from pinhole.families.first_layer import of_prompt
from pinhole.layer_method import LayerMethod
from pinhole.method import Learned
from pinhole.registry import METHODS, method_class, required_of
from pinhole.scenes import checkpoint
from pinhole.serving.reducer import blueprint
from pinhole.serving.servable import servable
from pinhole.serving.settings import Settings
from pinhole.view.cells import Row, method_label, percent

INSIDE_BY_QUESTION = {"fastv", "pyramiddrop", "sparsevlm", "dart"}
"""The methods inside the LLM whose choice depends on the text; of those at its input their `needs` tell."""


UNBROKEN = "\N{NO-BREAK SPACE}"
TILED = {
    "llava_next", "llava_onevision", "internvl", "idefics3", "smolvlm", "aya_vision", "cohere2_vision", "ovis2",
    "xcomposer2",
}  # fmt: skip
"""Families that cut a picture into tiles."""


@dataclass(frozen=True)
class Traits:
    """What is known of a method.

    Attributes:
        is_learned: whether it was trained.
        reads_question: whether its choice depends on the text.
        is_served: whether vLLM runs it.
        images, videos: model types on which it passes the contract as it is.
    """

    is_learned: bool
    reads_question: bool
    is_served: bool
    images: frozenset[str]
    videos: frozenset[str]


def reads_question(name: str) -> bool:
    """Whether the choice of a method with its default settings depends on the text."""
    kind = method_class(name)
    return name in INSIDE_BY_QUESTION if issubclass(kind, LayerMethod) else bool(of_prompt(kind.needs))


def is_served(name: str, family: Family) -> bool:
    """Whether vLLM can run a method on a model of this family; those that learn are tried with weights of chance."""
    kind = method_class(name)
    with tempfile.TemporaryDirectory() as folder:
        if issubclass(kind, Learned):
            kind.create(family.width).save_pretrained(folder)
        try:
            servable(Settings(f"{name}:{folder}" if issubclass(kind, Learned) else name, 0.1), family)
        except ValueError:
            return False
    return True


def traits(contracts: list[dict[str, Any]]) -> dict[str, Traits]:
    """Of every method but `full` and those that must be told the answer.

    Args:
        contracts: what `make contracts` counted.
    """
    family, found = blueprint(AutoConfig.from_pretrained(checkpoint())), {}
    for name in METHODS:
        if name == "full" or required_of(method_class(name)):
            continue
        passing = [row for row in contracts if row["method"] == name and row["passed"]]
        images, videos = (
            frozenset(row["family"] for row in passing if row["modality"] == modality)
            for modality in ("image", "video")
        )
        is_learned = issubclass(method_class(name), Learned)
        found[name] = Traits(is_learned, reads_question(name), is_served(name, family), images, videos)
    return found


@dataclass(frozen=True, eq=False)
class Candidate:
    """A method that can be chosen.

    Attributes:
        name: of the method.
        label: what it is called here.
        traits: what is known without measuring.
        rows: what was measured, by keep.
    """

    name: str
    label: str
    traits: Traits
    rows: dict[float, Row]


Need = Callable[[Traits], bool]


def needs(images: frozenset[str], videos: frozenset[str]) -> dict[str, Need]:
    """What a user may need, and whether a method answers it.

    Args:
        images: every model type that reads images.
        videos: every one that reads videos.
    """
    return {
        "nothing in particular": lambda _: True,
        "no training": lambda one: not one.is_learned,
        "no training; several questions about an image": lambda one: not (one.is_learned or one.reads_question),
        "several questions about an image": lambda one: not one.reads_question,
        "vLLM, no training": lambda one: one.is_served and not one.is_learned,
        "vLLM": lambda one: one.is_served,
        "every model type": lambda one: one.images == images,
        "every model that tiles its pictures": lambda one: one.images >= TILED,
        "every model that reads videos": lambda one: one.videos == videos,
    }


def candidates(results: dict[str, Any], known: dict[str, Traits]) -> list[Candidate]:
    """What was measured, each method with what it was trained for and the turns at which it decides."""
    found: dict[str, Candidate] = {}
    for row in results["rows"]:
        name = row["method"] if row["method"] in METHODS else row["method"].rpartition("+")[2]
        if name not in known:
            continue
        given = {key.rpartition(".")[2]: value for key, value in row["settings"].items()}
        notes = ["trained"] if given.get("adapter") else []
        notes += ["turns=each"] if given.get("turns") == "each" else []
        trait = known[name]
        if notes:
            is_learned, is_served = (
                trait.is_learned or "trained" in notes,
                trait.is_served and "turns=each" not in notes,
            )
            trait = replace(trait, is_learned=is_learned, is_served=is_served)
        label = method_label(name) + (f" ({', '.join(notes)})" if notes else "")
        found.setdefault(label, Candidate(name, label, trait, {})).rows[row["keep"]] = row
    return list(found.values())


def best(left: list[Candidate], keep: float) -> str:
    """The most accurate at one keep, and those whose interval reaches that of the first."""
    ranked = sorted((one for one in left if keep in one.rows), key=lambda one: -one.rows[keep]["average"])
    lead = ranked[0].rows[keep]["ci95"][0]
    reaching = [one for one in ranked if one.rows[keep]["ci95"][1] >= lead]
    named = (f"{label_at(one, keep)} {percent(one.rows[keep]['average'])}" for one in reaching)
    return ", ".join(name.replace(" ", UNBROKEN) for name in named)


def label_at(one: Candidate, keep: float) -> str:
    """What a candidate is called at one keep: a method that works behind another one there names both."""
    return one.label if one.rows[keep]["method"] == one.name else f"Sample + {one.label}"
