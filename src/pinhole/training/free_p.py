"""P of each image as numbers of its own, and the loss as a function of them."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from pinhole.budget import Keep, check_keep
from pinhole.decide import check_scope
from pinhole.families.base import Family
from pinhole.method import InputMethod
from pinhole.methods.full import Full
from pinhole.reduction import Reduction
from pinhole.scope import Scope
from pinhole.training.objectives import forward_kl, largest_column_sum, row_entropy
from pinhole.training.teacher import answer_outputs
from pinhole.visual import VisualTokens


class FreeP(InputMethod):
    """P = softmax_rows(P_raw), P_raw (m, n) of every image a matrix of its own; drawn when the image is first met.

    Args:
        keep: share or count of visual tokens that remain.
        init_std: P_raw is drawn from N(0, init_std^2).
        seed: decides it, together with the image's pixels: a picture that is there twice has one P.

    Attributes:
        raw: P_raw by the image's fingerprint; what a fit optimises.
    """

    name = "fit"
    paper = "MetaCompress, CVPR 2026, arXiv 2603.21701, Algorithm 2"

    def __init__(self, keep: Keep = 0.1, init_std: float = 0.1, seed: int = 0) -> None:
        if init_std < 0:
            raise ValueError(f"init_std is not below 0, got {init_std}")
        self.keep = check_keep(keep)
        self.raw: dict[int, torch.Tensor] = {}
        self._init_std, self._seed = init_std, seed

    def reduce(self, image: VisualTokens) -> Reduction:
        """P as it is now; gradients reach P_raw."""
        raw = self.raw.get(image.fingerprint)
        if raw is None:
            raw = self.raw[image.fingerprint] = self._draw(image).requires_grad_()
        return Reduction.mix(raw.softmax(-1))

    def _draw(self, image: VisualTokens) -> torch.Tensor:
        m = self.count(image.n)
        assert m is not None
        # one 32-bit number of both: torch's CPU generator ignores every higher bit of a seed
        generator = torch.Generator().manual_seed(zlib.crc32(str(self._seed).encode(), image.fingerprint))
        dtype = torch.promote_types(image.x.dtype, torch.float32)
        return (torch.randn(m, image.n, generator=generator) * self._init_std).to(image.x.device, dtype)

    def settings(self) -> dict[str, Any]:
        """What P is drawn with."""
        return {"init_std": self._init_std, "seed": self._seed}


class Objective:
    """L = KL + entropy_weight * entropy + collapse_weight * collapse of one batch, as a function of P alone.

    The encoder and the uncompressed model run once, here.

    Args:
        family: of the model.
        inputs: the model's, with `labels` on the answers.
        method: holds P.
        entropy_weight: of the mean row entropy of P.
        collapse_weight: of the largest column sum of P.
        scope: how P is applied.
    """

    def __init__(
        self,
        family: Family,
        inputs: dict[str, Any],
        method: FreeP,
        entropy_weight: float = 1.0,
        collapse_weight: float = 0.0,
        scope: Scope | None = None,
    ) -> None:
        if min(entropy_weight, collapse_weight) < 0:
            raise ValueError("entropy_weight and collapse_weight are not below 0")
        self.method, self._family, self._inputs, self._scope = method, family, inputs, scope or Scope()
        self._weights = {"kl": 1.0, "entropy": entropy_weight, "collapse": collapse_weight}
        check_scope(self._scope, family)
        with torch.no_grad():
            self._visuals, _ = family.encode(inputs)
            self._expected = answer_outputs(family, inputs, Full(), self._visuals).log_probs

    def __call__(self) -> tuple[dict[str, torch.Tensor], list[Reduction]]:
        """The loss and its terms, each of shape (), and P of each image.

        Raises:
            ValueError: no token of any image goes.
        """
        given = answer_outputs(self._family, self._inputs, self.method, self._visuals, self._scope)
        matrices = [reduction.matrix() for reduction in given.shrunk.reductions if reduction.weights is not None]
        if not matrices:
            raise ValueError("every visual token is kept: there is nothing to fit at this keep")
        terms = {
            "kl": forward_kl(self._expected, given.log_probs),
            "entropy": torch.stack([row_entropy(p) for p in matrices]).mean(),
            "collapse": torch.stack([largest_column_sum(p) for p in matrices]).mean(),
        }
        loss = torch.stack([self._weights[name] * term.to(terms["kl"]) for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}, given.shrunk.reductions
