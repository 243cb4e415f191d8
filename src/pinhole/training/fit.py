"""MetaCompress's Algorithm 2: P of one dialogue's images, found by gradient descent on P itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import torch
from transformers import PreTrainedModel, ProcessorMixin

from pinhole.budget import Keep
from pinhole.data import Dialogue
from pinhole.families import family_of
from pinhole.reduction import Reduction
from pinhole.scope import Scope, ScopeOptions
from pinhole.training.error import TrainingError
from pinhole.training.examples import batch_of
from pinhole.training.free_p import FreeP, Objective


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found.

    Attributes:
        reductions: P (m, n) of each image, in their order, without gradients.
        losses: "loss" and its terms "kl" (nats a token), "entropy" and "collapse" before each step, and of the result.
    """

    reductions: list[Reduction]
    losses: list[dict[str, float]]

    @property
    def kl_start(self) -> float:
        """KL(uncompressed || compressed) of the answers under the P that was drawn, in nats a token."""
        return self.losses[0]["kl"]

    @property
    def kl_end(self) -> float:
        """The same under `reductions`."""
        return self.losses[-1]["kl"]


def descend(objective: Objective, steps: int = 500, lr: float = 10.0) -> Fit:
    """Plain gradient descent on P_raw.

    Args:
        objective: of which model, images and answers.
        steps: how many.
        lr: what the gradient is multiplied by.

    Raises:
        ValueError: `steps` or `lr` out of range, or no token goes.
        TrainingError: a loss is not finite.
    """
    if steps < 0 or lr <= 0:
        raise ValueError(f"steps is not below 0 and lr above 0, got {steps} and {lr}")
    losses: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        terms, _ = objective()
        losses.append(_finite(terms, step))
        raws = list(objective.method.raw.values())
        for raw, gradient in zip(raws, torch.autograd.grad(terms["loss"], raws), strict=True):
            raw.data.sub_(gradient, alpha=lr)
    with torch.no_grad():
        terms, reductions = objective()
    losses.append(_finite(terms, steps))
    return Fit(reductions, losses)


def fit_reduction(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dialogue: Dialogue,
    keep: Keep = 0.1,
    *,
    steps: int = 500,
    lr: float = 10.0,
    init_std: float = 0.1,
    entropy_weight: float = 1.0,
    collapse_weight: float = 0.0,
    seed: int = 0,
    **scope: Unpack[ScopeOptions],
) -> Fit:
    """The P that serves one dialogue best: MetaCompress's Algorithm 2 (CVPR 2026, arXiv 2603.21701).

    P_raw (m, n) ~ N(0, init_std^2) of each image, P = softmax_rows(P_raw); plain gradient descent on P_raw makes the
    model say under P what it says without, at the reference answers' tokens. It is a tool of analysis: P is for these
    images and these questions alone. The paper's settings are the defaults; it has no collapse term here.

    Args:
        model: in evaluation mode, as it is loaded; nothing in it changes.
        processor: its own.
        dialogue: images, questions and reference answers.
        keep: share or count of each image's visual tokens that remain.
        steps: of the descent.
        lr: its learning rate.
        init_std: standard deviation of P_raw at the start.
        entropy_weight: of the mean row entropy of P.
        collapse_weight: of the largest column sum of P.
        seed: decides P_raw at the start.
        scope: `positions`, `video` and `separators`, as `pinhole.Scope` explains them.

    Raises:
        ValueError: a setting out of range, or every token would be kept.
        TrainingError: a loss is not finite.
    """
    method = FreeP(keep, init_std, seed)
    inputs = batch_of(model, processor, [dialogue])
    with _frozen(model):
        objective = Objective(family_of(model), inputs, method, entropy_weight, collapse_weight, Scope(**scope))
        return descend(objective, steps, lr)


@contextlib.contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """While the block runs no weight of the model asks for gradients: what they need is not kept in memory."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _finite(terms: dict[str, torch.Tensor], step: int) -> dict[str, float]:
    """The terms as numbers."""
    values = {name: term.item() for name, term in terms.items()}
    if not torch.tensor(values["loss"]).isfinite():
        told = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        raise TrainingError(f"step {step}: the loss is not finite ({told}): lower lr")
    return values
