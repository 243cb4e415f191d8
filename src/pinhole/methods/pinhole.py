"""Pinhole's own method: MetaCompress's P with queries at far points, and a small learned correction."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import nn

from pinhole.budget import Keep, check_keep
from pinhole.farthest import farthest_first
from pinhole.method import Learned
from pinhole.mixing import Mixer
from pinhole.normalization import blocks_of, mean_and_scale
from pinhole.places import NUMBERS, places
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens

NEAR = 4.0
"""How sharply tokens are shared out among the seeds, when these are told how many are like them."""


class Pinhole(Learned, library_name="pinhole", license="apache-2.0"):
    """X~ = P X + C. It looks at the image alone, and one set of weights serves any n and any `keep`.

    As in MetaCompress (CVPR 2026, arXiv 2603.21701) P = softmax_rows(t Q K^T / sqrt(d_c)), the values are the raw X and
    the LVLM is frozen. What differs, each because it was measured to help (docs/research_log.md):

    - **Seeds.** Q is not pooled from windows of the sequence: each row is the query of one token, and these are chosen
      as far from each other as can be in the space of the keys (`farthest_first`), so that every query starts at
      something of its own and training shapes what counts as different.
    - **Keys** are K = Z W_k + F V_k, with Z = s (X - mean) and F where in the picture a token comes from (`places`);
      Q likewise, with W_q = W_k and V_q = V_k at the start.
    - **Correction.** C = U h / s: h of width d_c comes from a transformer layer in which the m kept tokens read each
      other and the keys of all n; each tells its content, how its seed differs from it, its place, and the logarithm of
      how many tokens are like it. U is 0 at the start. A few far tokens are no fair sample of a picture; C lets the LLM
      read them as it would read all.

    Args:
        width: d, the width of the LLM that reads the tokens.
        keep: share (float in (0, 1]) or count (int) of visual tokens that remain.
        d_c: width of queries, keys and h.
        heads: of the attention among the kept tokens; d_c is a multiple of it.
        temperature: t at the start, learned from there.
        correct: whether there is a C; without, X~ = P X.
    """

    name = "pinhole"
    paper = "Pinhole; P after MetaCompress, CVPR 2026, arXiv 2603.21701"
    recipe = "fidelity"

    def __init__(
        self,
        width: int,
        keep: Keep = 0.1,
        d_c: int = 64,
        heads: int = 4,
        temperature: float = 8.0,
        correct: bool = True,
    ) -> None:
        super().__init__()
        if min(width, d_c, heads) < 1 or d_c % heads:
            raise ValueError(
                f"width, d_c and heads are at least 1, d_c a multiple of heads; got {width}, {d_c}, {heads}"
            )
        if temperature <= 0:
            raise ValueError(f"temperature is above 0, got {temperature}")
        self.keep = check_keep(keep)
        self.width, self.d_c, self.heads, self.correct = width, d_c, heads, correct
        self._start = {"temperature": temperature}
        w, v = torch.randn(width, d_c) * width**-0.5, torch.randn(NUMBERS, d_c) * 0.1
        self.w_q, self.w_k, self.v_q, self.v_k = (nn.Parameter(start.clone()) for start in (w, w, v, v))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        if correct:
            self.tell, self.mix = nn.Linear(2 * width + NUMBERS + 1, d_c), Mixer(d_c, heads)
            self.norm, self.say = nn.LayerNorm(d_c), nn.Linear(d_c, width)
            nn.init.zeros_(self.say.weight)
            nn.init.zeros_(self.say.bias)

    @classmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(width, **settings)

    def forward(self, x: torch.Tensor, where: torch.Tensor, m: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """P (m, n), whose rows sum to 1 and are in the order of their seeds, and C (m, d); in the weights' dtype.

        Args:
            x: (n, d) tokens.
            where: (n, NUMBERS) their places.
            m: how many remain.
        """
        weights, where = torch.cat((self.w_q, self.w_k), 1), where.to(self.w_k)
        mean, scale = mean_and_scale(x, weights.dtype)
        projected = torch.cat([(block.to(weights) - mean) @ weights for block in blocks_of(x)]) * scale
        queries, keys = (projected + where @ torch.cat((self.v_q, self.v_k), 1)).split(self.d_c, 1)
        seeds = farthest_first(keys.detach(), m)
        logits = queries[seeds] @ keys.T * (self.log_temperature.exp() / self.d_c**0.5)
        p = logits.softmax(-1)
        if not self.correct:
            return p, None
        alike = torch.cdist(keys[seeds], keys).square() * (-NEAR / self.d_c**0.5)
        many = alike.softmax(0).sum(1, keepdim=True).log()
        kept = (Reduction.mix(p).apply(x).to(weights) - mean) * scale
        seen = (x[seeds].to(weights) - mean) * scale
        h = self.mix(self.tell(torch.cat((kept, seen - kept, where[seeds], many), 1)), keys)
        return p, self.say(self.norm(h)) / scale

    def reduce(self, image: VisualTokens) -> Reduction:
        """P and C for this image; gradients reach the weights."""
        where = places(image.layout).to(image.x.device)
        p, correction = self(image.x, where, self.count(image.n))
        return Reduction.mix(p, correction)

    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`, as at the start of training."""
        return {name: getattr(self, name) for name in ("d_c", "heads", "correct")} | self._start

    def flops(self, n: int, m: int, width: int) -> int:
        """The projections, the distances to the seeds, P, P X, and the correction, to which P X is told too."""
        d_c = self.d_c
        decided = n * (width + NUMBERS) * 2 * d_c + m * n * (2 * d_c + width)
        told = m * n * (d_c + width) + m * d_c * (2 * width + NUMBERS + 1)
        mixed = m * d_c * (10 * d_c + 2 * m + 2 * n) + n * 2 * d_c**2
        corrected = told + mixed + m * d_c * width
        return 2 * (decided + corrected * self.correct)
