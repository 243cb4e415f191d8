"""What marks mean: kept and merged tokens, layers in which a token is alive, relevance; each with its legend."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.colors import to_hex

from pinhole.reduction import Reduction
from pinhole.view.cells import count
from pinhole.view.paint import Marks
from pinhole.view.subject import Decision, Stage

COLORS = "viridis"
"""The colour map of every heat: even in brightness and safe for colour-blind readers."""
OUTLINE, DARK, SCALE = "outline", "dark", "scale"
"""Signs of a legend beside plain colours: a white outline, the darkened picture, the whole colour map."""
_DARK = 0.42
"""Light on tokens that are left out."""


class Key(NamedTuple):
    """One line of a legend: a sign, which is one of the above or a colour such as #440154, and what it stands for."""

    sign: str
    text: str


def of_decision(decision: Decision) -> tuple[Marks, list[Key]]:
    """What a method kept: at the LLM's input, or layer by layer where tokens leave inside."""
    return of_stages(decision.stages(), decision.reduction.n) if decision.cuts else of_reduction(decision.reduction)


def of_reduction(reduction: Reduction) -> tuple[Marks, list[Key]]:
    """A selection: kept tokens as they are and outlined, the others dark. A mixture: usage as heat, anchors outlined.

    The heat is dark for 0 and yellow for the token that is used most.
    """
    used = reduction.usage().numpy()
    outlined = np.zeros(reduction.n, bool)
    outlined[reduction.anchors.cpu().numpy()] = True
    if reduction.weights is None:
        marks = Marks.plain(reduction.n)
        kept = int(outlined.sum())
        keys = [Key(OUTLINE, f"kept: {count(kept)}"), Key(DARK, f"left out: {count(reduction.n - kept)}")]
        return Marks(np.where(outlined, 1.0, _DARK), marks.colour, marks.cover, outlined), keys
    heat, key = _heat(used, "use in the kept tokens")
    return (
        Marks(heat.light, heat.colour, heat.cover, outlined),
        [key, Key(OUTLINE, f"weighs most in a kept token: {count(int(outlined.sum()))}")],
    )


def of_stages(stages: list[Stage], n: int) -> tuple[Marks, list[Key]]:
    """How long each of n tokens is alive: outlined to the end, else dark for the first that leave to green.

    What did not come into the LLM at all is darkened and has no colour.
    """
    until = np.full(n, -1)
    for number, stage in enumerate(stages):
        until[stage.alive.numpy()] = number
    shades = matplotlib.colormaps[COLORS](np.linspace(0.1, 0.75, len(stages) - 1))[:, :3]
    colour, cover = np.zeros((n, 3)), np.where(until >= 0, 0.6, 0.0)
    for number, shade in enumerate(shades):
        colour[until == number] = 255 * shade
    last = until == len(stages) - 1
    cover[last] = 0
    keys = [Key(OUTLINE, f"alive in all layers: {count(int(last.sum()))}")] if last.any() else []
    for number in range(len(stages) - 2, -1, -1):
        gone = int((until == number).sum())
        if gone:
            only = f"layers 0 to {stages[number].last}" if stages[number].last else "layer 0"
            keys.append(Key(to_hex(shades[number]), f"alive in {only} only: {count(gone)}"))
    if out := int((until < 0).sum()):
        keys.append(Key(DARK, f"left out at the input: {count(out)}"))
    return Marks(np.where(last, 1.0, np.where(until < 0, _DARK, 0.8)), colour, cover, last), keys


def of_relevance(values: torch.Tensor) -> tuple[Marks, list[Key]]:
    """How relevant each token is, as shares of the sum: dark for 0 and yellow for the largest."""
    shares = values.detach().float().cpu().clamp_min(0)
    marks, key = _heat((shares / shares.sum().clamp_min(1e-12)).numpy(), "share of the sum")
    return marks, [key]


def _heat(values: np.ndarray, what: str) -> tuple[Marks, Key]:
    top = float(values.max())
    level = values / max(top, 1e-12)
    colour = matplotlib.colormaps[COLORS](level)[:, :3] * 255
    n = len(values)
    key = Key(SCALE, f"{what}, 0 to {top:.2g}")
    return Marks(np.full(n, 0.6), colour, 0.1 + 0.6 * np.sqrt(level), np.zeros(n, bool)), key
