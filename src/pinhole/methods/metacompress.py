"""MetaCompress: P learned from the image alone, by matching the LLM's outputs before and after."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import nn

from pinhole.budget import Keep, check_keep
from pinhole.method import Learned
from pinhole.normalization import blocks_of, mean_and_scale
from pinhole.reduction import Reduction
from pinhole.visual import VisualTokens


class MetaCompress(Learned, library_name="pinhole", license="apache-2.0", paper_url="https://arxiv.org/abs/2603.21701"):
    """X~ = P X with P = softmax_rows(Q diag(b) K^T / sqrt(d_c)), Q = Pool(Z + E_pos) W_q, K = (Z + E_pos) W_k.

    "Rethinking Token Reduction for Large Vision-Language Models", CVPR 2026, arXiv 2603.21701. Z is X (normalised, see
    below); the values are the raw X. One set of weights (2 d d_c + d_c numbers, and the temperature) serves any n and
    any `keep`.

    Where the paper is silent, each choice is a setting:

    Args:
        width: d, the width of the LLM that reads the tokens.
        keep: share (float in (0, 1]) or count (int) of visual tokens that remain.
        d_c: width of queries and keys.
        kernel: tokens averaged into each query; windows start at floor(i (n - kernel) / (m - 1)).
        normalize: "image" centres X on its mean token and scales it to a mean norm of sqrt(d) to get Z; "none" is the
            formula as printed, Z = X. Projector outputs share a large mean: as printed, the softmax is saturated at the
            start and training never leaves it (measured on the embedded LVLM).
        positions: "sinusoidal" adds the fixed E_pos of "Attention is all you need"; "none" adds nothing.
        temperature: the softmax's sharpness at the start, learned from there; None fixes it to 1, as printed.
        init_std: standard deviation of W_q = W_k at the start; None is d^-1/2.
    """

    name = "metacompress"
    paper = "MetaCompress, CVPR 2026, arXiv 2603.21701"

    def __init__(
        self,
        width: int,
        keep: Keep = 0.1,
        d_c: int = 64,
        kernel: int = 3,
        normalize: Literal["image", "none"] = "image",
        positions: Literal["sinusoidal", "none"] = "sinusoidal",
        temperature: float | None = math.exp(0.5),
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        for setting, value, allowed in (
            ("normalize", normalize, ("image", "none")),
            ("positions", positions, ("sinusoidal", "none")),
        ):
            if value not in allowed:
                raise ValueError(f"{setting} is one of {', '.join(allowed)}, got {value!r}")
        if min(width, d_c, kernel) < 1:
            raise ValueError(f"width, d_c and kernel are at least 1, got {width}, {d_c}, {kernel}")
        if temperature is not None and temperature <= 0:
            raise ValueError(f"temperature is above 0, or None for the formula as printed; got {temperature}")
        self.keep = check_keep(keep)
        self.width, self.d_c, self.kernel = width, d_c, kernel
        self.normalize, self.positions = normalize, positions
        self._start = {"temperature": temperature, "init_std": init_std}
        w = torch.randn(width, d_c) * (width**-0.5 if init_std is None else init_std)
        self.w_q, self.w_k = nn.Parameter(w.clone()), nn.Parameter(w.clone())
        self.b = nn.Parameter(torch.ones(d_c))
        self.log_temperature = None if temperature is None else nn.Parameter(torch.tensor(math.log(temperature)))

    @classmethod
    def create(cls, width: int, seed: int = 0, **settings: Any) -> Self:
        """Untrained weights for an LLM of this width; the global random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(width, **settings)

    def forward(self, x: torch.Tensor, m: int) -> torch.Tensor:
        """P, (m, n), in the dtype of the weights, for the tokens `x` (n, d). Every row sums to 1.

        Tokens are looked at a block at a time, each made into Z + E_pos in one step and projected in one product.
        Pooling is linear, so that queries are pooled behind their projection.
        """
        blocks = blocks_of(x)
        mean, scale = self.w_q.new_zeros(self.width), self.w_q.new_ones(())
        if self.normalize == "image":
            mean, scale = mean_and_scale(x, self.w_q.dtype)
        weights, offset = torch.cat((self.w_q, self.w_k), 1), -scale * mean
        projected, start = [], 0
        for block in blocks:
            if self.positions == "none":
                placed = torch.addcmul(offset, block.to(offset), scale)
            else:  # in place: these are the largest tensors there are
                placed = _sinusoids(start, len(block), self.width, x.device).to(offset).add_(offset)
                placed.addcmul_(block.to(offset), scale)
            projected.append(placed @ weights)
            start += len(block)
        queries, keys = torch.cat(projected).split(self.d_c, 1)
        logits = (_pool(queries, m, self.kernel) * self.b) @ keys.T / self.d_c**0.5
        if self.log_temperature is not None:
            logits = logits * self.log_temperature.exp()
        return logits.softmax(-1)

    def reduce(self, image: VisualTokens) -> Reduction:
        """P for this image; gradients reach the weights."""
        return Reduction.mix(self(image.x, self.count(image.n)))

    def settings(self) -> dict[str, Any]:
        """Every setting but `keep`, as at the start of training."""
        fields = ("d_c", "kernel", "normalize", "positions")
        return {name: getattr(self, name) for name in fields} | self._start

    def flops(self, n: int, m: int, width: int) -> int:
        """Both projections of all tokens, Q K^T and P X."""
        return 2 * (n * width * 2 * self.d_c + m * n * self.d_c + m * n * width)


def _pool(rows: torch.Tensor, m: int, kernel: int) -> torch.Tensor:
    """(m, c): means of m windows of `kernel` neighbours, spread evenly from the first of n rows (n, c) to the last."""
    n = len(rows)
    kernel = min(kernel, n)
    starts = torch.arange(m, device=rows.device) * (n - kernel) // max(1, m - 1) + (0 if m > 1 else (n - kernel) // 2)
    return rows[starts[:, None] + torch.arange(kernel, device=rows.device)].mean(1)


def _sinusoids(start: int, n: int, width: int, device: torch.device) -> torch.Tensor:
    """(n, d) at positions from `start` on: sin in the even columns, cos in the odd ones (Vaswani et al. 2017, 3.5).

    sin(pw) + i cos(pw) = i exp(-ipw); with p = start + a c + b that is the product of two small tables, of a and of b.
    """
    side = math.isqrt(n - 1) + 1
    number = torch.arange(side, device=device, dtype=torch.float32)[:, None]
    frequency = 10000 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.stack((math.pi / 2 - (start + side * number) * frequency, -number * frequency))
    far, near = torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(far[:, None] * near).flatten(0, 1)[:n].flatten(1)[:, :width]
