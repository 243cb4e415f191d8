"""VisionSelector: a learned score for each visual token."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn

from pinhole.budget import Keep, check_keep
from pinhole.method import Learned
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


class VisionSelector(
    Learned, library_name="pinhole", license="apache-2.0", paper_url="https://arxiv.org/abs/2510.16598"
):
    """Keep the tokens with the largest score s_i = mean_j q_i k_j / sqrt(h), q and k linear in X.

    "VisionSelector: End-to-End Learnable Visual Token Compression for Efficient Multimodal LLMs", arXiv 2510.16598: the
    learnable importance scorer, and the hard top-k that it uses at inference. Kept tokens stay in the order of the
    image. The mean over j passes through the product: s_i = q_i mean_j(k_j) / sqrt(h), and mean_j(k_j) is the key of
    the mean token: n d + 2 d h multiplications do for 2 n d h + n^2 h, and the (n, n) matrix is never formed.

    `reduce` gives no gradients; `forward` does, and `pinhole.training.selection` puts a soft top-k on it. The
    parameters are named as in the published checkpoints, there behind "visual.importance_scorer.".

    Where the published code differs: it shares one budget out over all images of a prompt, here each has its own; it
    scores in the model's bfloat16, here scores have the dtype of the weights, and ties go to the earlier token; it
    rounds the number of tokens down.

    Args:
        width: d, the width of the LLM that reads the tokens.
        keep: share (float in (0, 1]) or count (int) of visual tokens that remain. The paper trains at 0.2 and uses the
            same weights for other shares.
        hidden: h, the width of q and k; None is d / 2, as in the paper.
        init_std: standard deviation of both weights at the start, which the published code makes small; biases are 0.
    """

    name = "visionselector"
    paper = "VisionSelector, arXiv 2510.16598"
    recipe = "selection"

    def __init__(self, width: int, keep: Keep = 0.1, hidden: int | None = None, init_std: float = 1e-4) -> None:
        super().__init__()
        hidden = width // 2 if hidden is None else hidden
        if min(width, hidden) < 1:
            raise ValueError(f"width and hidden are at least 1, got {width} and {hidden}")
        if init_std <= 0:
            raise ValueError(f"init_std is above 0, got {init_std}")
        self.keep = check_keep(keep)
        self.width, self.hidden, self.init_std = width, hidden, init_std
        self.q_proj, self.k_proj = nn.Linear(width, hidden), nn.Linear(width, hidden)
        for layer in (self.q_proj, self.k_proj):
            nn.init.normal_(layer.weight, std=init_std)
            nn.init.zeros_(layer.bias)

    @classmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(width, **settings)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores (n,), in the dtype of the weights, for the tokens `x` (n, d)."""
        z = x.to(self.q_proj.weight.dtype)
        key = self.k_proj(z.mean(0))
        # unlike a matrix product, the sum is the same for duplicates to the last bit
        return ((z * (key @ self.q_proj.weight)).sum(-1) + key @ self.q_proj.bias) / self.hidden**0.5

    @torch.no_grad()
    def reduce(self, image: VisualTokens) -> Reduction:
        """The m tokens that score most."""
        order = self(image.x).argsort(descending=True, stable=True)
        return Reduction.select(order[: self.count(image.n)].sort().values, image.n)

    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`."""
        return {"hidden": self.hidden, "init_std": self.init_std}

    def flops(self, n: int, m: int, width: int) -> int:
        """The mean token's key, its way back through W_q, and the scores."""
        return 2 * (2 * width * self.hidden + n * width + self.hidden)
